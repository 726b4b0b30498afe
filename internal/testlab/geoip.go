package testlab

import (
	"encoding/binary"
	"net/netip"
)

// GeoDatabase makes a small MaxMind database (format 2.0): a tree of 24-bit records
// over IPv6 with the given networks, each with its own data.
type GeoDatabase struct {
	nodes [][2]int // a child's node, or -1-n for data n, or 0 for none
	data  []byte
	at    []int // where data n begins
}

// Add adds a network, which must not hold another one or be held by it, with a
// record: keys and their values in turn. A value that is an []any is a record too;
// others may be strings of at most 284 bytes, []string without members, bool,
// uint16, uint32 and uint64.
func (d *GeoDatabase) Add(prefix string, pairs ...any) {
	p := netip.MustParsePrefix(prefix)
	bits := p.Bits()
	a := p.Addr().As16()
	if p.Addr().Is4() { // IPv4 is ::/96 there
		v4 := p.Addr().As4()
		a = [16]byte{12: v4[0], 13: v4[1], 14: v4[2], 15: v4[3]}
		bits += 96
	}
	if d.nodes == nil {
		d.nodes = make([][2]int, 1)
	}
	d.at = append(d.at, len(d.data))
	d.data = append(d.data, geoRecord(pairs...)...)
	node := 0
	for i := range bits {
		bit := a[i/8] >> (7 - i%8) & 1
		if i == bits-1 {
			d.nodes[node][bit] = -len(d.at)
			break
		}
		if d.nodes[node][bit] == 0 {
			d.nodes = append(d.nodes, [2]int{})
			d.nodes[node][bit] = len(d.nodes) - 1
		}
		node = d.nodes[node][bit]
	}
}

// Bytes is the database as a file holds it.
func (d *GeoDatabase) Bytes() []byte {
	var b []byte
	n := len(d.nodes)
	for _, node := range d.nodes {
		for _, child := range node {
			v := n // no data
			if child > 0 {
				v = child
			} else if child < 0 {
				v = n + 16 + d.at[-child-1]
			}
			b = append(b, byte(v>>16), byte(v>>8), byte(v))
		}
	}
	b = append(b, make([]byte, 16)...)
	b = append(b, d.data...)
	b = append(b, "\xab\xcd\xefMaxMind.com"...)
	meta := []any{
		"binary_format_major_version", uint16(2), "binary_format_minor_version", uint16(0), "build_epoch", uint64(1700000000),
		"database_type", "Test", "description", []any{}, "ip_version", uint16(6), "languages", []string{},
		"node_count", uint32(n), "record_size", uint16(24),
	}
	return append(b, geoRecord(meta...)...)
}

// geoRecord encodes a map of keys and values.
func geoRecord(pairs ...any) []byte {
	b := []byte{7<<5 | byte(len(pairs)/2)}
	for _, v := range pairs {
		b = append(b, geoField(v)...)
	}
	return b
}

func geoField(v any) []byte {
	switch v := v.(type) {
	case string:
		if len(v) < 29 {
			return append([]byte{2<<5 | byte(len(v))}, v...)
		}
		return append([]byte{2<<5 | 29, byte(len(v) - 29)}, v...)
	case uint16:
		return []byte{5<<5 | 2, byte(v >> 8), byte(v)}
	case uint32:
		return binary.BigEndian.AppendUint32([]byte{6<<5 | 4}, v)
	case uint64:
		return binary.BigEndian.AppendUint64([]byte{8, 9 - 7}, v)
	case bool:
		if v {
			return []byte{1, 14 - 7}
		}
		return []byte{0, 14 - 7}
	case []string:
		return []byte{byte(len(v)), 11 - 7}
	case []any:
		return geoRecord(v...)
	}
	panic("unknown type")
}

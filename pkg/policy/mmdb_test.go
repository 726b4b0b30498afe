package policy

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// testDatabase makes a small MaxMind database (format 2.0): a tree of 24-bit records
// over IPv6 with the given networks, each with its own data.
type testDatabase struct {
	nodes [][2]int // a child's node, or -1-n for data n, or 0 for none
	data  []byte
	at    []int // where data n begins
}

func (d *testDatabase) add(prefix string, record []byte) {
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
	d.data = append(d.data, record...)
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

func (d *testDatabase) bytes() []byte {
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
	return append(b, record(meta...)...)
}

// record encodes a map of keys and values.
func record(pairs ...any) []byte {
	b := []byte{7<<5 | byte(len(pairs)/2)}
	for _, v := range pairs {
		b = append(b, field(v)...)
	}
	return b
}

func field(v any) []byte {
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
		return record(v...)
	}
	panic("unknown type")
}

func TestDatabase(t *testing.T) {
	d := &testDatabase{}
	country := func(code string) []any { return []any{"country", []any{"iso_code", code}} }
	d.add("192.0.2.0/24", record(append(country("DE"), "autonomous_system_number", uint32(64496), "is_anycast", true)...))
	d.add("2001:db8::/32", record(append(country("FR"), "autonomous_system_number", uint32(64497))...))
	d.add("198.51.100.0/24", record("other", "a very long text"))
	path := write(t, t.TempDir(), "geo.mmdb", d.bytes())
	tests := []struct {
		field, address string
		want           int64
	}{
		{"", "192.0.2.9", 0x4445},
		{"#country.iso_code", "2001:db8::7", 0x4652},
		{"", "198.51.100.1", -1},
		{"", "203.0.113.1", -1},
		{"#autonomous_system_number", "192.0.2.1", 64496},
		{"#is_anycast", "192.0.2.1", 1},
		{"#is_anycast", "2001:db8::7", -1},
	}
	for _, tt := range tests {
		c, err := readTable(path+tt.field, TableCIDR)
		if err != nil {
			t.Fatalf("%s: %v", tt.field, err)
		}
		if got := get(t, c, tt.address); got != tt.want || c.size() != -1 {
			t.Errorf("%s of %s is %#x, want %#x", tt.field, tt.address, got, tt.want)
		}
	}
	_, err := readTable(path+"#country.iso", TableCIDR)
	wants(t, err, path+`: no network has the field "country.iso" (the first one has`, "country")
	_, err = readTable(path+"#other", TableCIDR)
	wants(t, err, `no network has the field "other"`)
	_, err = readTable(path, TableInteger)
	wants(t, err, "a database fills tables of kind cidr only, this one is of kind integer")
	_, err = readTable(write(t, t.TempDir(), "bad.mmdb", []byte("x")), TableCIDR)
	wants(t, err, "bad.mmdb: ")
}

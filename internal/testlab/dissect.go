package testlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Header is a header found in a packet.
type Header struct {
	// Name is the protocol's, such as "ipv4".
	Name string
	// Offset is where it begins, in bytes.
	Offset int
	Fields []Field
}

// Field is a value of a header, in text.
type Field struct{ Name, Value string }

func (h Header) String() string {
	var b strings.Builder
	b.WriteString(h.Name)
	for _, f := range h.Fields {
		fmt.Fprintf(&b, " %s=%s", f.Name, f.Value)
	}
	return b.String()
}

// Check validates an Ethernet frame: that every length fits, that nothing
// follows the packet (but padding up to 60 bytes), and that every checksum is
// right, in tunnels also the inner ones and in ICMP errors that of the quoted
// IPv4 header. It returns all faults found.
func Check(frame []byte) error {
	_, err := Dissect(frame)
	return err
}

// Dissect takes an Ethernet frame apart as far as it can and returns the
// faults that [Check] looks for.
func Dissect(frame []byte) ([]Header, error) {
	d := &dissector{frame: frame, rest: frame}
	d.ethernet()
	return d.headers, errors.Join(d.faults...)
}

// dissector walks through a frame, header by header.
type dissector struct {
	frame   []byte
	rest    []byte
	headers []Header
	faults  []error
	// quoted is a packet inside an ICMP error: cut short, so that lengths
	// and transport checksums say nothing.
	quoted bool
	// fragment is a packet that is not whole.
	fragment bool
	// later is a fragment without the transport header.
	later bool
	// src and dst are those of the last IP header; the final destination is
	// unknown (nil) behind an unfinished routing header.
	src, dst []byte
}

func (d *dissector) fault(format string, args ...any) {
	d.faults = append(d.faults, fmt.Errorf(format, args...))
}

// take consumes a header of n bytes, or reports that it is cut short.
func (d *dissector) take(name string, n int) ([]byte, *Header) {
	if len(d.rest) < n {
		if !d.quoted {
			d.fault("%s: header of %d bytes, %d left", name, n, len(d.rest))
		}
		d.payload()
		return nil, nil
	}
	d.headers = append(d.headers, Header{Name: name, Offset: len(d.frame) - len(d.rest)})
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b, &d.headers[len(d.headers)-1]
}

func (h *Header) add(name string, format string, value any) {
	h.Fields = append(h.Fields, Field{name, fmt.Sprintf(format, value)})
}

func (d *dissector) ethernet() {
	b, h := d.take("ethernet", 14)
	if b == nil {
		return
	}
	h.add("dst", "%v", MAC(b[0:6]))
	h.add("src", "%v", MAC(b[6:12]))
	h.add("type", "%#04x", be16(b[12:]))
	d.etherType(be16(b[12:]))
}

func (d *dissector) etherType(t uint16) {
	switch t {
	case EtherTypeVLAN, EtherTypeQinQ:
		b, h := d.take("vlan", 4)
		if b == nil {
			return
		}
		h.add("tpid", "%#04x", t)
		h.add("id", "%d", be16(b)&0xfff)
		h.add("priority", "%d", b[0]>>5)
		h.add("type", "%#04x", be16(b[2:]))
		d.etherType(be16(b[2:]))
	case EtherTypeIPv4:
		d.ipv4()
	case EtherTypeIPv6:
		d.ipv6()
	default:
		d.payload()
	}
}

func (d *dissector) ipv4() {
	size := 20
	if len(d.rest) > 0 {
		size = max(size, int(d.rest[0]&0xf)*4)
	}
	b, h := d.take("ipv4", size)
	if b == nil {
		return
	}
	if b[0]>>4 != 4 || b[0]&0xf < 5 {
		d.fault("ipv4: version and header length are %#02x", b[0])
	}
	total, fragment := int(be16(b[2:])), be16(b[6:])
	d.src, d.dst = b[12:16], b[16:20]
	h.add("src", "%v", netip.AddrFrom4([4]byte(d.src)))
	h.add("dst", "%v", netip.AddrFrom4([4]byte(d.dst)))
	h.add("ttl", "%d", b[8])
	h.add("protocol", "%d", b[9])
	h.add("tos", "%#02x", b[1])
	h.add("id", "%#04x", be16(b[4:]))
	h.add("flags", "%#x", fragment>>13)
	h.add("fragment-offset", "%d", int(fragment&0x1fff)*8)
	h.add("length", "%d", total)
	h.add("options", "%x", b[20:])
	h.add("checksum", "%s", d.sum("ipv4", be16(b[10:]), b))
	d.trim("ipv4", total-size)
	d.fragment = fragment&0x3fff != 0
	d.later = fragment&0x1fff != 0
	d.protocol(b[9])
}

func (d *dissector) ipv6() {
	b, h := d.take("ipv6", 40)
	if b == nil {
		return
	}
	word := binary.BigEndian.Uint32(b)
	if word>>28 != 6 {
		d.fault("ipv6: version is %d", word>>28)
	}
	d.src, d.dst = b[8:24], b[24:40]
	d.fragment, d.later = false, false
	h.add("src", "%v", netip.AddrFrom16([16]byte(d.src)))
	h.add("dst", "%v", netip.AddrFrom16([16]byte(d.dst)))
	h.add("hop-limit", "%d", b[7])
	h.add("next-header", "%d", b[6])
	h.add("class", "%#02x", word>>20&0xff)
	h.add("flow-label", "%#05x", word&0xfffff)
	h.add("length", "%d", be16(b[4:]))
	d.trim("ipv6", int(be16(b[4:])))
	d.protocol(b[6])
}

// trim cuts what an IP header says is not its own.
func (d *dissector) trim(name string, length int) {
	switch {
	case d.quoted:
	case length < 0 || length > len(d.rest):
		d.fault("%s: length says %d bytes behind the header, there are %d", name, length, len(d.rest))
	case length < len(d.rest):
		if len(d.frame) > 60 {
			d.fault("%s: %d bytes follow the packet", name, len(d.rest)-length)
		}
		// The offsets of later headers are counted from the frame's end.
		d.frame = d.frame[:len(d.frame)-(len(d.rest)-length)]
		d.rest = d.rest[:length]
	}
}

func (d *dissector) payload() {
	if len(d.rest) == 0 {
		return
	}
	h := Header{Name: "payload", Offset: len(d.frame) - len(d.rest)}
	h.add("length", "%d", len(d.rest))
	h.add("bytes", "%x", d.rest)
	d.headers = append(d.headers, h)
	d.rest = nil
}

// sum says whether the checksum over the parts, which contain it, is right.
func (d *dissector) sum(name string, have uint16, parts ...[]byte) string {
	if off := checksum(parts...); off != 0 {
		d.fault("%s: checksum %#04x is wrong", name, have)
		return fmt.Sprintf("%#04x(wrong)", have)
	}
	return fmt.Sprintf("%#04x", have)
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }

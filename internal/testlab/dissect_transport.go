package testlab

import (
	"encoding/binary"
	"fmt"
)

// protocol takes apart what an IP or extension header announces.
func (d *dissector) protocol(p uint8) {
	if d.later {
		d.payload()
		return
	}
	switch p {
	case ProtoHopByHop, ProtoRouting, ProtoDestinationOptions, ProtoAuthentication:
		d.extension(p)
	case ProtoFragment:
		d.fragmentHeader()
	case ProtoTCP:
		d.tcp()
	case ProtoUDP:
		d.udp()
	case ProtoICMPv4:
		d.icmp("icmpv4", false)
	case ProtoICMPv6:
		d.icmp("icmpv6", true)
	case ProtoIPv4:
		d.ipv4()
	case ProtoIPv6:
		d.ipv6()
	default:
		d.payload()
	}
}

func (d *dissector) extension(p uint8) {
	name := map[uint8]string{
		ProtoHopByHop: "hop-by-hop", ProtoRouting: "routing",
		ProtoDestinationOptions: "destination-options", ProtoAuthentication: "authentication",
	}[p]
	size := 8
	if len(d.rest) >= 2 {
		size = (int(d.rest[1]) + 1) * 8
		if p == ProtoAuthentication {
			size = (int(d.rest[1]) + 2) * 4
		}
	}
	b, h := d.take(name, size)
	if b == nil {
		return
	}
	h.add("next-header", "%d", b[0])
	h.add("data", "%x", b[2:])
	if p == ProtoRouting && b[3] != 0 {
		d.dst = nil
	}
	d.protocol(b[0])
}

func (d *dissector) fragmentHeader() {
	b, h := d.take("fragment", 8)
	if b == nil {
		return
	}
	h.add("next-header", "%d", b[0])
	h.add("offset", "%d", be16(b[2:])&^7)
	h.add("more", "%t", b[3]&1 != 0)
	h.add("id", "%#08x", binary.BigEndian.Uint32(b[4:]))
	d.fragment = be16(b[2:])&^6 != 0
	d.later = be16(b[2:])&^7 != 0
	d.protocol(b[0])
}

// transportSum verifies a checksum that covers the pseudo-header and the whole
// segment, where both are known.
func (d *dissector) transportSum(name string, protocol uint8, have uint16, segment []byte) string {
	if d.quoted || d.fragment || d.dst == nil {
		return fmt.Sprintf("%#04x", have)
	}
	return d.sum(name, have, pseudo(d.src, d.dst, protocol, len(segment)), segment)
}

func (d *dissector) tcp() {
	segment := d.rest
	size := 20
	if len(segment) > 12 {
		size = max(size, int(segment[12]>>4)*4)
	}
	if d.quoted && len(segment) >= 8 {
		// RFC 792 promises eight bytes: the ports and the sequence number.
		size = min(size, len(segment))
	}
	b, h := d.take("tcp", size)
	if b == nil {
		return
	}
	h.add("src-port", "%d", be16(b))
	h.add("dst-port", "%d", be16(b[2:]))
	h.add("seq", "%d", binary.BigEndian.Uint32(b[4:]))
	if len(b) < 20 {
		d.payload()
		return
	}
	if b[12]>>4 < 5 {
		d.fault("tcp: header length is %d", b[12]>>4*4)
	}
	h.add("ack", "%d", binary.BigEndian.Uint32(b[8:]))
	h.add("flags", "%v", TCPFlags(b[13]))
	h.add("window", "%d", be16(b[14:]))
	h.add("urgent", "%d", be16(b[18:]))
	h.add("options", "%x", b[20:])
	h.add("checksum", "%s", d.transportSum("tcp", ProtoTCP, be16(b[16:]), segment))
	d.payload()
}

func (d *dissector) udp() {
	datagram := d.rest
	b, h := d.take("udp", 8)
	if b == nil {
		return
	}
	length, sum := int(be16(b[4:])), be16(b[6:])
	h.add("src-port", "%d", be16(b))
	h.add("dst-port", "%d", be16(b[2:]))
	h.add("length", "%d", length)
	text := "none"
	switch {
	case sum != 0:
		text = d.transportSum("udp", ProtoUDP, sum, datagram)
	case len(d.src) == 16:
		d.fault("udp: no checksum over IPv6")
	}
	h.add("checksum", "%s", text)
	if length != len(datagram) && !d.quoted && !d.fragment {
		d.fault("udp: length is %d, the datagram has %d bytes", length, len(datagram))
	}
	d.payload()
}

func (d *dissector) icmp(name string, v6 bool) {
	message := d.rest
	b, h := d.take(name, 8)
	if b == nil {
		return
	}
	h.add("type", "%d", b[0])
	h.add("code", "%d", b[1])
	h.add("rest", "%#08x", binary.BigEndian.Uint32(b[4:]))
	sum := be16(b[2:])
	switch {
	case v6:
		h.add("checksum", "%s", d.transportSum(name, ProtoICMPv6, sum, message))
	case d.quoted || d.fragment:
		h.add("checksum", "%#04x", sum)
	default:
		h.add("checksum", "%s", d.sum(name, sum, message))
	}
	// Unreachable, source quench, redirect, time exceeded, parameter problem.
	isError := v6 && b[0] < 128 || !v6 && (b[0] == 3 || b[0] == 4 || b[0] == 5 || b[0] == 11 || b[0] == 12)
	if !isError || d.quoted || d.fragment {
		d.payload()
		return
	}
	d.quoted = true
	if v6 {
		d.ipv6()
	} else {
		d.ipv4()
	}
}

package testlab

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// TCPFlags are the flags of a TCP header.
type TCPFlags uint8

// The TCP flags.
const (
	FIN TCPFlags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

func (f TCPFlags) String() string {
	var set []string
	for i, name := range []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"} {
		if f&(1<<i) != 0 {
			set = append(set, name)
		}
	}
	if set == nil {
		return "none"
	}
	return strings.Join(set, "|")
}

// TCP is a TCP header.
type TCP struct {
	SrcPort, DstPort uint16
	Seq, Ack         uint32
	Flags            TCPFlags
	// Window is 65535 when nil.
	Window *uint16
	Urgent uint16
	// Options are padded with zeros (end of options) to a multiple of 4,
	// at most 40 bytes.
	Options  []byte
	Checksum *uint16
}

func (t TCP) encode(outer []Layer, _ Layer, payload []byte) []byte {
	options := padded(t.Options, 4)
	if len(options) > 40 {
		panic(fmt.Sprintf("testlab: TCP with %d bytes of options", len(options)))
	}
	b := binary.BigEndian.AppendUint16(nil, t.SrcPort)
	b = binary.BigEndian.AppendUint16(b, t.DstPort)
	b = binary.BigEndian.AppendUint32(b, t.Seq)
	b = binary.BigEndian.AppendUint32(b, t.Ack)
	b = append(b, byte((20+len(options))/4<<4), byte(t.Flags))
	b = binary.BigEndian.AppendUint16(b, value(t.Window, 65535))
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint16(b, t.Urgent)
	b = append(append(b, options...), payload...)
	sum := checksum(pseudoHeader(outer, ProtoTCP, len(b)), b)
	binary.BigEndian.PutUint16(b[16:], value(t.Checksum, sum))
	return b
}
func (t TCP) announced() (uint16, uint8) { return 0, ProtoTCP }

// UDP is a UDP header.
type UDP struct {
	SrcPort, DstPort uint16
	Length           *uint16
	// Checksum 0 says that there is none, on IPv4.
	Checksum *uint16
}

func (u UDP) encode(outer []Layer, _ Layer, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, u.SrcPort)
	b = binary.BigEndian.AppendUint16(b, u.DstPort)
	b = binary.BigEndian.AppendUint16(b, value(u.Length, uint16(8+len(payload))))
	b = append(append(b, 0, 0), payload...)
	sum := checksum(pseudoHeader(outer, ProtoUDP, len(b)), b)
	if sum == 0 {
		// RFC 768: zero is sent as its other form.
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(b[6:], value(u.Checksum, sum))
	return b
}
func (u UDP) announced() (uint16, uint8) { return 0, ProtoUDP }

// ICMPv4 is an ICMP header of eight bytes. An error message quotes the packet
// it is about in the layers behind it.
type ICMPv4 struct {
	Type, Code uint8
	// Rest is the second word: identifier and sequence, or the MTU.
	Rest     uint32
	Checksum *uint16
}

func (i ICMPv4) encode(_ []Layer, _ Layer, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{i.Type, i.Code, 0, 0}, i.Rest)
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[2:], value(i.Checksum, checksum(b)))
	return b
}
func (i ICMPv4) announced() (uint16, uint8) { return 0, ProtoICMPv4 }

// ICMPv6 is an ICMPv6 header of eight bytes; see ICMPv4.
type ICMPv6 struct {
	Type, Code uint8
	Rest       uint32
	Checksum   *uint16
}

func (i ICMPv6) encode(outer []Layer, _ Layer, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{i.Type, i.Code, 0, 0}, i.Rest)
	b = append(b, payload...)
	sum := checksum(pseudoHeader(outer, ProtoICMPv6, len(b)), b)
	binary.BigEndian.PutUint16(b[2:], value(i.Checksum, sum))
	return b
}
func (i ICMPv6) announced() (uint16, uint8) { return 0, ProtoICMPv6 }

// pseudoHeader is that of the nearest IP header around a transport header.
func pseudoHeader(outer []Layer, protocol uint8, length int) []byte {
	for i := len(outer) - 1; i >= 0; i-- {
		switch ip := outer[i].(type) {
		case IPv4:
			return pseudo(as4(ip.Src), as4(ip.Dst), protocol, length)
		case IPv6:
			return pseudo(as16(ip.Src), as16(ip.Dst), protocol, length)
		}
	}
	panic(fmt.Sprintf("testlab: protocol %d without an IP header around it", protocol))
}

// pseudo is the pseudo-header of RFC 9293 (IPv4) and RFC 8200 (IPv6), in one
// form: their fields differ in width only, and zeros do not change a sum.
func pseudo(src, dst []byte, protocol uint8, length int) []byte {
	b := append(append([]byte(nil), src...), dst...)
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	return binary.BigEndian.AppendUint32(b, uint32(protocol))
}

// checksum is the Internet checksum (RFC 1071) of the parts, each of which but
// the last has an even length. Over data that contains its right checksum it
// is 0.
func checksum(parts ...[]byte) uint16 {
	var sum uint64
	for _, b := range parts {
		for len(b) >= 2 {
			sum += uint64(b[0])<<8 | uint64(b[1])
			b = b[2:]
		}
		if len(b) == 1 {
			sum += uint64(b[0]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

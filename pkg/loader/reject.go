package loader

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// Reject answers the packet in the frontend's name, so that the client learns at
// once: a TCP segment by a RST, a UDP datagram by "administratively prohibited".
// It sends nothing to who must not be answered: a RST, or what was not sent from
// one host to one host.
func (i *Injector) Reject(u *maps.Upcall) error {
	answer, err := rejection(u)
	if err == nil && answer != nil {
		err = i.send(u.Ifindex, answer, 0)
	}
	if err != nil {
		return fmt.Errorf("reject packet from %v to %v: %w", u.Source, u.Destination, err)
	}
	return nil
}

// rejection is the frame to send back; nil if there must be none.
func rejection(u *maps.Upcall) ([]byte, error) {
	const mac = 6
	p, err := datagram(u)
	if err != nil {
		return nil, err
	}
	if !answerable(u) {
		return nil, nil
	}
	link := u.Frame[:u.Network]
	frame := make([]byte, 0, len(u.Frame)+128)
	frame = append(frame, link[mac:2*mac]...)
	frame = append(frame, link[:mac]...)
	frame = append(frame, link[2*mac:]...) // tags and EtherType as they were
	if u.Protocol == model.TCP {
		return appendIP(frame, u, unix.IPPROTO_TCP, resetOf(u, p[u.Transport-u.Network:])), nil
	}
	return appendUnreachable(frame, u, p), nil
}

// answerable follows RFC 1122 §3.2.2 and RFC 4443 §2.4 (e).
func answerable(u *maps.Upcall) bool {
	const group = 1 // the first bit of a MAC address on the wire
	from := u.Source.Addr()
	return u.Frame[0]&group == 0 && u.Frame[6]&group == 0 &&
		u.TCPFlags&flagRST == 0 &&
		!from.IsUnspecified() && !from.IsMulticast() && !from.IsLoopback() &&
		from != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// Bits of byte 13 of the TCP header.
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
)

// resetOf is the RST that answers a segment to a closed port (RFC 9293 §3.10.7.1).
func resetOf(u *maps.Upcall, segment []byte) []byte {
	const header, words = 20, 5
	sequence, ack, flags := binary.BigEndian.Uint32(segment[8:]), uint32(0), uint8(flagRST)
	if u.TCPFlags&flagACK == 0 {
		sequence, flags = 0, flagRST|flagACK
		ack = binary.BigEndian.Uint32(segment[4:]) + segmentLength(u, segment)
	}
	b := make([]byte, 0, header)
	b = binary.BigEndian.AppendUint16(b, u.Destination.Port())
	b = binary.BigEndian.AppendUint16(b, u.Source.Port())
	b = binary.BigEndian.AppendUint32(b, sequence)
	b = binary.BigEndian.AppendUint32(b, ack)
	b = append(b, words<<4, flags, 0, 0, 0, 0, 0, 0)
	to, from := u.Source.Addr().AsSlice(), u.Destination.Addr().AsSlice()
	putChecksum(b[16:18], sum(pseudoSum(from, to, unix.IPPROTO_TCP, len(b)), b), false)
	return b
}

// segmentLength counts SYN and FIN too (RFC 9293 §3.4).
func segmentLength(u *maps.Upcall, segment []byte) uint32 {
	length := max(len(segment)-int(segment[12]>>4)*4, 0)
	for _, f := range []uint8{flagSYN, flagFIN} {
		if u.TCPFlags&f != 0 {
			length++
		}
	}
	return uint32(length)
}

// appendUnreachable appends an ICMP or ICMPv6 packet that quotes p as far as the
// smallest MTU allows (RFC 1812 §4.3.2.3, RFC 4443 §2.4 (c)).
func appendUnreachable(frame []byte, u *maps.Upcall, p []byte) []byte {
	const header = 8
	kind, code, protocol, most := byte(3), byte(13), uint8(unix.IPPROTO_ICMP), 576-20-header
	pseudo := uint32(0)
	ipv6 := u.Source.Addr().Is6()
	if ipv6 {
		kind, code, protocol, most = 1, 1, unix.IPPROTO_ICMPV6, 1280-40-header
	}
	b := append([]byte{kind, code, 0, 0, 0, 0, 0, 0}, p[:min(len(p), most)]...)
	if ipv6 {
		pseudo = pseudoSum(u.Destination.Addr().AsSlice(), u.Source.Addr().AsSlice(), protocol, len(b))
	}
	putChecksum(b[2:4], sum(pseudo, b), false)
	return appendIP(frame, u, protocol, b)
}

// appendIP appends a packet from the frontend's address to the client's.
func appendIP(frame []byte, u *maps.Upcall, protocol uint8, payload []byte) []byte {
	const ttl, ipv4, doNotFragment = 64, 20, 0x4000
	from, to := u.Destination.Addr().AsSlice(), u.Source.Addr().AsSlice()
	if u.Source.Addr().Is6() {
		frame = append(frame, 0x60, 0, 0, 0)
		frame = binary.BigEndian.AppendUint16(frame, uint16(len(payload)))
		frame = append(frame, protocol, ttl)
		frame = append(append(frame, from...), to...)
		return append(frame, payload...)
	}
	at := len(frame)
	frame = append(frame, 0x45, 0)
	frame = binary.BigEndian.AppendUint16(frame, uint16(ipv4+len(payload)))
	frame = append(frame, 0, 0)
	frame = binary.BigEndian.AppendUint16(frame, doNotFragment)
	frame = append(frame, ttl, protocol, 0, 0)
	frame = append(append(frame, from...), to...)
	putChecksum(frame[at+10:at+12], sum(0, frame[at:at+ipv4]), false)
	return append(frame, payload...)
}

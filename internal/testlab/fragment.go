package testlab

import (
	"encoding/binary"
	"fmt"
)

// Fragments cuts a whole Ethernet frame with an IPv4 or IPv6 packet into
// fragments of at most mtu bytes of IP. The identification of IPv6 fragments
// is id; IPv4 ones keep the packet's own. It panics on frames that it cannot
// cut, as [Build] does.
func Fragments(frame []byte, mtu int, id uint32) [][]byte {
	at := 14
	for t := be16(frame[at-2:]); t == EtherTypeVLAN || t == EtherTypeQinQ; t = be16(frame[at-2:]) {
		at += 4
	}
	link, packet := frame[:at], frame[at:]
	var cut func(head, chunk []byte, offset int, more bool) []byte
	head, body := 0, 0
	switch be16(frame[at-2:]) {
	case EtherTypeIPv4:
		head = int(packet[0]&0xf) * 4
		body = mtu - head
		cut = fragment4
	case EtherTypeIPv6:
		var next int
		head, next = unfragmentable(packet)
		body = mtu - head - 8
		cut = func(head, chunk []byte, offset int, more bool) []byte {
			return fragment6(head, next, chunk, offset, more, id)
		}
	default:
		panic(fmt.Sprintf("testlab: fragments of EtherType %#04x", be16(frame[at-2:])))
	}
	body &^= 7
	if body <= 0 {
		panic(fmt.Sprintf("testlab: fragments of %d bytes leave no room for data", mtu))
	}
	var frames [][]byte
	for data, offset := packet[head:], 0; offset < len(data); offset += body {
		end := min(offset+body, len(data))
		fragment := cut(packet[:head], data[offset:end], offset, end < len(data))
		frames = append(frames, append(append([]byte(nil), link...), fragment...))
	}
	return frames
}

func fragment4(head, chunk []byte, offset int, more bool) []byte {
	b := append(append([]byte(nil), head...), chunk...)
	flags := be16(b[6:])&0xc000 | uint16(offset/8)
	if more {
		flags |= 0x2000
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[6:], flags)
	binary.BigEndian.PutUint16(b[10:], 0)
	binary.BigEndian.PutUint16(b[10:], checksum(b[:len(head)]))
	return b
}

func fragment6(head []byte, next int, chunk []byte, offset int, more bool, id uint32) []byte {
	b := append([]byte(nil), head...)
	inner := b[next]
	b[next] = ProtoFragment
	b = append(b, Fragment{Offset: offset, More: more, ID: id, NextHeader: inner}.encode(nil, nil, chunk)...)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

// unfragmentable is the length of the part of an IPv6 packet that every
// fragment repeats (RFC 8200, section 4.5), and where its last next-header
// field is.
func unfragmentable(packet []byte) (length, next int) {
	length, next = 40, 6
	for packet[next] == ProtoHopByHop || packet[next] == ProtoRouting {
		next, length = length, length+(int(packet[length+1])+1)*8
	}
	return length, next
}

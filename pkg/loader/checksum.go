package loader

import (
	"encoding/binary"
	"errors"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

var errShort = errors.New("the frame is shorter than its headers say")

// sum adds b to a ones' complement sum in 16-bit words (RFC 1071).
func sum(start uint32, b []byte) uint32 {
	total := uint64(start)
	for ; len(b) >= 2; b = b[2:] {
		total += uint64(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		total += uint64(b[0]) << 8
	}
	return uint32(fold(total))
}

func fold(total uint64) uint16 {
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}

// pseudoSum is the sum of the pseudo-header of a transport segment (RFC 9293
// §3.1, RFC 8200 §8.1).
func pseudoSum(source, destination []byte, protocol uint8, length int) uint32 {
	return sum(sum(sum(0, source), destination), binary.BigEndian.AppendUint32([]byte{0, protocol}, uint32(length)))
}

// datagram is the IP packet in the upcall's frame, without what follows it.
func datagram(u *maps.Upcall) ([]byte, error) {
	const ipv4, ipv6, tcp, udp = 20, 40, 20, 8
	if u.Network < 0 || u.Network+ipv4 > len(u.Frame) {
		return nil, errShort
	}
	p := u.Frame[u.Network:]
	length := int(binary.BigEndian.Uint16(p[2:]))
	if u.Source.Addr().Is6() {
		length = ipv6 + int(binary.BigEndian.Uint16(p[4:]))
	}
	least := u.Transport - u.Network + udp
	if u.Protocol == model.TCP {
		least += tcp - udp
	}
	if length > len(p) || length < least {
		return nil, errShort
	}
	return p[:length], nil
}

// completeChecksum completes a transport checksum that the sender left to its
// device, which is then the pseudo-header's sum alone. TC sees such packets.
func completeChecksum(u *maps.Upcall) error {
	const ofTCP, ofUDP = 16, 6
	p, err := datagram(u)
	if err != nil {
		return err
	}
	segment := p[u.Transport-u.Network:]
	field := segment[ofUDP : ofUDP+2]
	if u.Protocol == model.TCP {
		field = segment[ofTCP : ofTCP+2]
	}
	pseudo := pseudoSum(u.Source.Addr().AsSlice(), u.Destination.Addr().AsSlice(), uint8(u.Protocol), len(segment))
	if binary.BigEndian.Uint16(field) != uint16(pseudo) {
		return nil
	}
	// The field is in the sum as the pseudo-header's part.
	putChecksum(field, sum(0, segment), u.Protocol == model.UDP)
	return nil
}

// putChecksum writes the complement of a sum; in UDP 0 means that there is none.
func putChecksum(field []byte, total uint32, udp bool) {
	c := ^uint16(total)
	if udp && c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(field, c)
}

package testlab

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// MAC is an Ethernet address.
type MAC [6]byte

func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// EtherTypes and protocol numbers as they stand in headers.
const (
	EtherTypeIPv4 = 0x0800
	EtherTypeARP  = 0x0806
	EtherTypeVLAN = 0x8100
	EtherTypeIPv6 = 0x86dd
	EtherTypeQinQ = 0x88a8

	ProtoHopByHop           = 0
	ProtoICMPv4             = 1
	ProtoIPv4               = 4
	ProtoTCP                = 6
	ProtoUDP                = 17
	ProtoIPv6               = 41
	ProtoRouting            = 43
	ProtoFragment           = 44
	ProtoESP                = 50
	ProtoAuthentication     = 51
	ProtoICMPv6             = 58
	ProtoNoNextHeader       = 59
	ProtoDestinationOptions = 60
)

// Layer is one header, or the payload, of a packet to build. Fields that are
// left zero get the value that makes the packet right: what the next layer
// is, lengths, checksums. A pointer field, where given, is written as it is,
// right or wrong.
type Layer interface {
	// encode returns the layer with payload behind it. Outer are the layers
	// around it, outermost first, next is the one inside or nil.
	encode(outer []Layer, next Layer, payload []byte) []byte
	// announced is how a header says that this layer comes next.
	announced() (etherType uint16, protocol uint8)
}

// Build assembles a packet from its layers, given from the outermost to the
// innermost. It panics on values that no packet can hold, such as an IPv4
// address in an IPv6 header: those are errors of the calling program.
func Build(layers ...Layer) []byte {
	var packet []byte
	for i := len(layers) - 1; i >= 0; i-- {
		var next Layer
		if i+1 < len(layers) {
			next = layers[i+1]
		}
		packet = layers[i].encode(layers[:i], next, packet)
	}
	return packet
}

// IP is an IPv4 or IPv6 header, by the family of the addresses.
func IP(src, dst netip.Addr) Layer {
	if src.Is4() {
		return IPv4{Src: src, Dst: dst}
	}
	return IPv6{Src: src, Dst: dst}
}

// TCPPacket is the plain TCP segment of a flow.
func TCPPacket(link Ethernet, src, dst netip.AddrPort, flags TCPFlags, payload string) []byte {
	return Build(link, IP(src.Addr(), dst.Addr()), TCP{SrcPort: src.Port(), DstPort: dst.Port(), Flags: flags}, Payload(payload))
}

// UDPPacket is the plain UDP datagram of a flow.
func UDPPacket(link Ethernet, src, dst netip.AddrPort, payload string) []byte {
	return Build(link, IP(src.Addr(), dst.Addr()), UDP{SrcPort: src.Port(), DstPort: dst.Port()}, Payload(payload))
}

// Payload is data that is no header.
type Payload []byte

func (p Payload) encode(_ []Layer, _ Layer, payload []byte) []byte {
	return append(append([]byte(nil), p...), payload...)
}
func (p Payload) announced() (uint16, uint8) { return 0, ProtoNoNextHeader }

// Ethernet is an Ethernet II header.
type Ethernet struct {
	Dst, Src MAC
	// EtherType is the next layer's when 0.
	EtherType uint16
}

func (e Ethernet) encode(_ []Layer, next Layer, payload []byte) []byte {
	b := append(e.Dst[:], e.Src[:]...)
	b = binary.BigEndian.AppendUint16(b, etherType(e.EtherType, next))
	return append(b, payload...)
}
func (e Ethernet) announced() (uint16, uint8) { return 0x6558, 143 }

// VLAN is a tag: 802.1Q, or 802.1ad if Service.
type VLAN struct {
	ID       uint16
	Priority uint8
	// Service is the outer tag of two (TPID 0x88a8).
	Service bool
	// EtherType is the next layer's when 0.
	EtherType uint16
}

func (v VLAN) encode(_ []Layer, next Layer, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(v.Priority)<<13|v.ID&0xfff)
	b = binary.BigEndian.AppendUint16(b, etherType(v.EtherType, next))
	return append(b, payload...)
}

func (v VLAN) announced() (uint16, uint8) {
	if v.Service {
		return EtherTypeQinQ, 0
	}
	return EtherTypeVLAN, 0
}

func etherType(given uint16, next Layer) uint16 {
	if given != 0 || next == nil {
		return given
	}
	t, _ := next.announced()
	return t
}

func protocol(given uint8, next Layer) uint8 {
	switch {
	case given != 0:
		return given
	case next == nil:
		return ProtoNoNextHeader
	}
	_, p := next.announced()
	return p
}

// TTLZero is the TTL or hop limit 0, whose place the default takes.
const TTLZero = -1

func ttl(given int) byte {
	switch given {
	case 0:
		return 64
	case TTLZero:
		return 0
	}
	return byte(given)
}

// IPv4 is an IPv4 header.
type IPv4 struct {
	Src, Dst netip.Addr
	// TTL is 1 to 255; 0 stands for 64, TTLZero for 0.
	TTL int
	// TOS is DSCP and ECN.
	TOS           uint8
	ID            uint16
	DontFragment  bool
	MoreFragments bool
	// FragmentOffset in bytes, a multiple of 8.
	FragmentOffset int
	// Options are padded with zeros (end of options) to a multiple of 4,
	// at most 40 bytes.
	Options []byte
	// Protocol is the next layer's when 0.
	Protocol uint8
	// Length is the total length.
	Length   *uint16
	Checksum *uint16
}

func (h IPv4) encode(_ []Layer, next Layer, payload []byte) []byte {
	options := padded(h.Options, 4)
	if len(options) > 40 || h.FragmentOffset%8 != 0 || h.FragmentOffset>>3 > 0x1fff {
		panic(fmt.Sprintf("testlab: IPv4 with %d bytes of options, fragment offset %d", len(options), h.FragmentOffset))
	}
	fragment := uint16(h.FragmentOffset >> 3)
	if h.DontFragment {
		fragment |= 0x4000
	}
	if h.MoreFragments {
		fragment |= 0x2000
	}
	size := 20 + len(options)
	b := []byte{byte(0x40 | size/4), h.TOS}
	b = binary.BigEndian.AppendUint16(b, value(h.Length, uint16(size+len(payload))))
	b = binary.BigEndian.AppendUint16(b, h.ID)
	b = binary.BigEndian.AppendUint16(b, fragment)
	b = append(b, ttl(h.TTL), protocol(h.Protocol, next), 0, 0)
	b = append(b, as4(h.Src)...)
	b = append(b, as4(h.Dst)...)
	b = append(b, options...)
	binary.BigEndian.PutUint16(b[10:], value(h.Checksum, checksum(b)))
	return append(b, payload...)
}
func (h IPv4) announced() (uint16, uint8) { return EtherTypeIPv4, ProtoIPv4 }

// IPv6 is an IPv6 header.
type IPv6 struct {
	Src, Dst netip.Addr
	// HopLimit is 1 to 255; 0 stands for 64, TTLZero for 0.
	HopLimit     int
	TrafficClass uint8
	FlowLabel    uint32
	// NextHeader is the next layer's when 0.
	NextHeader uint8
	// Length is the payload length.
	Length *uint16
}

func (h IPv6) encode(_ []Layer, next Layer, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, 6<<28|uint32(h.TrafficClass)<<20|h.FlowLabel&0xfffff)
	b = binary.BigEndian.AppendUint16(b, value(h.Length, uint16(len(payload))))
	b = append(b, protocol(h.NextHeader, next), ttl(h.HopLimit))
	b = append(b, as16(h.Src)...)
	b = append(b, as16(h.Dst)...)
	return append(b, payload...)
}
func (h IPv6) announced() (uint16, uint8) { return EtherTypeIPv6, ProtoIPv6 }

// Extension is an IPv6 extension header: hop-by-hop, destination options,
// routing, or authentication.
type Extension struct {
	// Protocol is the header's own number, such as ProtoHopByHop.
	Protocol uint8
	// Data is all behind the next header and the length, padded with zeros
	// to the header's unit. Zeros are valid options (Pad1).
	Data []byte
	// NextHeader is the next layer's when 0.
	NextHeader uint8
}

func (e Extension) encode(_ []Layer, next Layer, payload []byte) []byte {
	b := padded(append([]byte{protocol(e.NextHeader, next), 0}, e.Data...), 8)
	b[1] = byte(len(b)/8 - 1)
	if e.Protocol == ProtoAuthentication {
		// RFC 4302: in units of four bytes, less two.
		b[1] = byte(len(b)/4 - 2)
	}
	return append(b, payload...)
}
func (e Extension) announced() (uint16, uint8) { return 0, e.Protocol }

// Fragment is the IPv6 fragment header.
type Fragment struct {
	// Offset in bytes, a multiple of 8.
	Offset int
	More   bool
	ID     uint32
	// NextHeader is the next layer's when 0.
	NextHeader uint8
}

func (f Fragment) encode(_ []Layer, next Layer, payload []byte) []byte {
	if f.Offset%8 != 0 || f.Offset > 0xfff8 {
		panic(fmt.Sprintf("testlab: IPv6 fragment offset %d", f.Offset))
	}
	offset := uint16(f.Offset)
	if f.More {
		offset |= 1
	}
	b := []byte{protocol(f.NextHeader, next), 0}
	b = binary.BigEndian.AppendUint16(b, offset)
	b = binary.BigEndian.AppendUint32(b, f.ID)
	return append(b, payload...)
}
func (f Fragment) announced() (uint16, uint8) { return 0, ProtoFragment }

func value(given *uint16, right uint16) uint16 {
	if given != nil {
		return *given
	}
	return right
}

// padded is a copy of b with zeros up to a multiple of unit.
func padded(b []byte, unit int) []byte {
	return append(append([]byte(nil), b...), make([]byte, (unit-len(b)%unit)%unit)...)
}

func as4(a netip.Addr) []byte {
	b := a.As4()
	return b[:]
}

func as16(a netip.Addr) []byte {
	if !a.Is6() {
		panic(fmt.Sprintf("testlab: %s in an IPv6 header", a))
	}
	b := a.As16()
	return b[:]
}

package bpf_test

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

// ends are what forwarding changes of a packet.
type ends struct {
	link     testlab.Ethernet
	src, dst netip.AddrPort
	ttl      int
}

// mold makes packets that are alike but for their ends: one to send, and the
// one that is to come out, with all lengths and checksums computed anew.
type mold struct {
	name     string
	protocol model.Protocol
	flags    testlab.TCPFlags
	// only is 4 or 6 if the mold knows one family.
	only   int
	tagged bool
	pour   func(e ends) []byte
	// bare is pour without the VLAN tags of a tagged mold.
	bare func(e ends) []byte
}

// shape is what a packet has besides its ends. Tags, options and extensions go
// before, into and behind the IP header; the trailer is Ethernet's padding.
type shape struct {
	tags       []testlab.Layer
	options    []byte
	extensions []testlab.Layer
	transport  func(src, dst uint16) testlab.Layer
	payload    int
	trailer    int
}

func (s shape) pour(e ends) []byte {
	layers := append([]testlab.Layer{e.link}, s.tags...)
	if e.src.Addr().Is4() {
		layers = append(layers, testlab.IPv4{
			Src: e.src.Addr(), Dst: e.dst.Addr(), TTL: e.ttl, ID: 77, TOS: 0xb9, DontFragment: true, Options: s.options,
		})
	} else {
		layers = append(layers, testlab.IPv6{
			Src: e.src.Addr(), Dst: e.dst.Addr(), HopLimit: e.ttl, TrafficClass: 0xb9, FlowLabel: 0xabcde,
		})
		layers = append(layers, s.extensions...)
	}
	layers = append(layers, s.transport(e.src.Port(), e.dst.Port()), payload(s.payload))
	return append(testlab.Build(layers...), strings.Repeat("\xa5", s.trailer)...)
}

func (s shape) untagged() shape { s.tags = nil; return s }

func payload(n int) testlab.Payload {
	b := make(testlab.Payload, n)
	for i := range b {
		b[i] = byte(i*7 + 1)
	}
	return b
}

func tcp(flags testlab.TCPFlags) func(src, dst uint16) testlab.Layer {
	return func(src, dst uint16) testlab.Layer {
		return testlab.TCP{SrcPort: src, DstPort: dst, Seq: 0x01020304, Ack: 0x05060708, Flags: flags, Options: []byte{2, 4, 5, 0xb4, 4, 2}}
	}
}

func udp(src, dst uint16) testlab.Layer { return testlab.UDP{SrcPort: src, DstPort: dst} }

func udpNoChecksum(src, dst uint16) testlab.Layer {
	return testlab.UDP{SrcPort: src, DstPort: dst, Checksum: new(uint16(0))}
}

// molds are the forms in which TCP and UDP packets come.
func molds() []mold {
	out := []mold{
		tcpMold("syn", testlab.SYN, shape{}),
		tcpMold("data", testlab.PSH|testlab.ACK, shape{payload: 1400}),
		tcpMold("odd data", testlab.ACK, shape{payload: 333}),
		tcpMold("syn with ecn", testlab.SYN|testlab.ECE|testlab.CWR, shape{}),
		four(udpMold("padded ethernet", shape{trailer: 18})),
		udpMold("udp", shape{payload: 100}),
		udpMold("udp odd", shape{payload: 33}),
		udpMold("udp empty", shape{}),
		udpMold("udp full", shape{payload: 1400}),
	}
	tag := testlab.VLAN{ID: 5, Priority: 3}
	service := testlab.VLAN{ID: 100, Service: true}
	for name, tags := range map[string][]testlab.Layer{
		"802.1Q": {tag}, "802.1ad": {service}, "802.1ad and 802.1Q": {service, tag}, "two 802.1Q": {tag, tag},
	} {
		out = append(out, tcpMold("tag "+name, testlab.SYN, shape{tags: tags}), udpMold("udp tag "+name, shape{tags: tags, payload: 9}))
	}
	for words := 1; words <= 10; words++ {
		options := make([]byte, words*4)
		for i := range options {
			options[i] = 1 // no operation
		}
		s := shape{options: options, payload: 50}
		out = append(out,
			four(tcpMold(fmt.Sprint(words, " words of options"), testlab.SYN, s)),
			four(udpMold(fmt.Sprint("udp ", words, " words of options"), s)),
		)
	}
	out = append(out, four(uncheckedMold("udp without checksum", 40)))
	for _, s := range extensionChains() {
		out = append(out, six(tcpMold(s.name, testlab.SYN, s.shape)), six(udpMold("udp "+s.name, s.shape)))
	}
	return out
}

type chain struct {
	name string
	shape
}

// extensionChains are chains of IPv6 extension headers that are skipped.
func extensionChains() []chain {
	hop := testlab.Extension{Protocol: testlab.ProtoHopByHop}
	options := testlab.Extension{Protocol: testlab.ProtoDestinationOptions, Data: make([]byte, 30)}
	routing := testlab.Extension{Protocol: testlab.ProtoRouting, Data: []byte{4, 0, 0, 0, 0, 0}}
	atomic := testlab.Fragment{ID: 99}
	auth := testlab.Extension{Protocol: testlab.ProtoAuthentication, Data: make([]byte, 22)}
	chains := []chain{
		{"hop-by-hop", shape{extensions: []testlab.Layer{hop}}},
		{"destination options", shape{extensions: []testlab.Layer{options}}},
		{"finished routing", shape{extensions: []testlab.Layer{routing}}},
		{"atomic fragment", shape{extensions: []testlab.Layer{atomic}}},
		{"authentication", shape{extensions: []testlab.Layer{auth}}},
		{"all", shape{extensions: []testlab.Layer{hop, options, routing, atomic, auth, options}}},
		{"long", shape{extensions: []testlab.Layer{testlab.Extension{Protocol: testlab.ProtoHopByHop, Data: make([]byte, 1400-2)}}}},
	}
	for n := 2; n <= 8; n++ {
		s := shape{}
		for range n {
			s.extensions = append(s.extensions, options)
		}
		chains = append(chains, chain{fmt.Sprint("chain of ", n), s})
	}
	return chains
}

func tcpMold(name string, flags testlab.TCPFlags, s shape) mold {
	s.transport = tcp(flags)
	return mold{name: name, protocol: model.TCP, flags: flags, tagged: s.tags != nil, pour: s.pour, bare: s.untagged().pour}
}

func udpMold(name string, s shape) mold {
	s.transport = udp
	return mold{name: name, protocol: model.UDP, tagged: s.tags != nil, pour: s.pour, bare: s.untagged().pour}
}

func uncheckedMold(name string, payload int) mold {
	m := udpMold(name, shape{payload: payload})
	m.pour = shape{transport: udpNoChecksum, payload: payload}.pour
	return m
}

func four(m mold) mold { m.only = 4; return m }
func six(m mold) mold  { m.only = 6; return m }

// created are the events when the mold's packet is a flow's first.
func (m mold) created() []string {
	if m.protocol == model.TCP && m.flags&(testlab.SYN|testlab.ACK) != testlab.SYN {
		return []string{"flow_created", "flow_midstream"}
	}
	return []string{"flow_created"}
}

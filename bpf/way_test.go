package bpf_test

import (
	"net/netip"

	"github.com/xlb-io/xlb/internal/testlab"
)

// way is a client, a frontend and its backend, and how their packets travel.
type way struct {
	name                 string
	client, vip, backend netip.AddrPort
	// near and far are the balancer's interfaces to the client and to the
	// backend, clientMAC and backendMAC the next hops there.
	near, far             string
	clientMAC, backendMAC testlab.MAC
	service, number       uint32 // of the backend
}

// ways are those of the standard world: through the balancer and, as it were,
// on one arm.
func ways() []way {
	var out []way
	for _, w := range []way{
		{name: "nat4", vip: at("192.0.2.10:80"), backend: at("10.20.0.11:8080"), service: nat4},
		{name: "nat6", vip: at("[2001:db8::10]:80"), backend: at("[fd10:20::b]:8080"), service: nat6},
		{name: "dsr4", vip: at("192.0.2.20:80"), backend: at("10.20.0.11:80"), service: dsr4},
		{name: "dsr6", vip: at("[2001:db8::20]:80"), backend: at("[fd10:20::b]:80"), service: dsr6},
	} {
		out = append(out, w.throughAndOnOneArm()...)
	}
	return out
}

// throughAndOnOneArm completes a way with the standard world's client and first
// backend: on other segments, and on the same.
func (w way) throughAndOnOneArm() []way {
	w.number = w.service*10 + 1
	w.far, w.backendMAC = servers, mac(20, 11)
	through, arm := w, w
	through.name += " through"
	through.near, through.clientMAC = clients, mac(10, 2)
	through.client = either(w.vip, "10.10.0.2:40000", "[fd10:10::2]:40000")
	arm.name += " on one arm"
	arm.near, arm.clientMAC = servers, mac(20, 2)
	arm.client = either(w.vip, "10.20.0.2:40000", "[fd10:20::2]:40000")
	return []way{through, arm}
}

// wayTo is the way through the balancer to a service of the standard world.
func wayTo(service uint32) way { return ways()[(service-1)*2] }

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func either(like netip.AddrPort, v4, v6 string) netip.AddrPort {
	if like.Addr().Is4() {
		return at(v4)
	}
	return at(v6)
}

func (w way) nat() bool { return w.service == nat4 || w.service == nat6 }

func (w way) family() int {
	if w.vip.Addr().Is4() {
		return 4
	}
	return 6
}

// sends is the reason for which a packet of the way leaves, if all is well.
func (w way) sends() string {
	if w.near == w.far {
		return "tx"
	}
	return "redirect"
}

// request is a packet of the client.
func (w way) request(m mold) packet {
	return packet{frame: m.pour(w.requestEnds()), ingress: w.near}
}

func (w way) requestEnds() ends {
	return ends{testlab.Ethernet{Dst: own[w.near], Src: w.clientMAC}, w.client, w.vip, 64}
}

// forwarded is the request as the backend is to get it, with nat as source, or
// untouched but for the MACs if nat is not valid.
func (w way) forwarded(m mold, nat netip.AddrPort) []byte {
	return w.leaving(m)(w.forwardedEnds(nat))
}

// leaving makes the packets that leave: VLAN tags belong to the interface that
// they came in by.
func (w way) leaving(m mold) func(ends) []byte {
	if m.tagged && w.near != w.far {
		return m.bare
	}
	return m.pour
}

func (w way) forwardedEnds(nat netip.AddrPort) ends {
	link := testlab.Ethernet{Dst: w.backendMAC, Src: own[w.far]}
	if !nat.IsValid() {
		return ends{link, w.client, w.vip, 64}
	}
	return ends{link, nat, w.backend, 63}
}

// reply is the backend's packet to nat, returned what the client is to get.
func (w way) reply(m mold, nat netip.AddrPort) packet {
	return packet{frame: m.pour(w.replyEnds(nat)), ingress: w.far}
}

func (w way) replyEnds(nat netip.AddrPort) ends {
	return ends{testlab.Ethernet{Dst: own[w.far], Src: w.backendMAC}, w.backend, nat, 64}
}

func (w way) returned(m mold) []byte {
	return w.leaving(m)(ends{testlab.Ethernet{Dst: w.clientMAC, Src: own[w.near]}, w.vip, w.client, 63})
}

// fromPort is the same way from another port of the client.
func (w way) fromPort(port uint16) way {
	w.client = netip.AddrPortFrom(w.client.Addr(), port)
	return w
}

// plain packets of a way's protocol.
func segment(flags testlab.TCPFlags) mold { return tcpMold(flags.String(), flags, shape{payload: 5}) }

func datagram() mold { return udpMold("udp", shape{payload: 5}) }

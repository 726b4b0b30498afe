package bpf_test

import (
	"fmt"
	"testing"

	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// Jumbo frames, of which XDP has all but the first few kilobytes in other
// buffers: in each forwarding mode the exact bytes that leave, all of them
// counted, up to the MTU and no further.
func TestJumbo(t *testing.T) {
	for _, forward := range []model.Forward{model.NAT, model.DNAT, model.L2DSR, model.IPIP, model.GUE} {
		for _, family := range []int{4, 6} {
			t.Run(fmt.Sprint(forward, " ", family), func(t *testing.T) { testJumbo(t, forward, family) })
		}
	}
}

func testJumbo(t *testing.T, forward model.Forward, family int) {
	w := way{
		vip: at("192.0.2.50:80"), client: at("10.50.0.2:40000"), backend: at("10.50.0.11:80"),
		near: jumbo, clientMAC: mac(50, 2), far: jumbo, backendMAC: mac(50, 11), service: 1, number: 11,
	}
	if family == 6 {
		w.vip, w.client, w.backend = at("[2001:db8::50]:80"), at("[fd10:50::2]:40000"), at("[fd10:50::b]:80")
	}
	p := newPlane(t, settings(), sizes(), jumboWorld(forward, w))
	room := 9000 - map[int]int{4: 20, 6: 40}[family] - 8
	if forward == model.IPIP || forward == model.GUE {
		room -= w.overhead(forward)
	}
	p.bothHooks(t, func(t *testing.T) {
		for _, size := range []int{3000, 3500, 4000, 5001, 8000, room, room + 1} {
			if size > 3500 && p.hook.name == tcHook.name {
				continue // more than a test run of TC takes
			}
			inside(t, fmt.Sprint(size), func(t *testing.T) {
				p.forget(t)
				m := udpMold("udp", shape{payload: size})
				x := want{reason: "tx", service: 1, backend: 11}
				if forward == model.NAT || forward == model.DNAT {
					x.events = []string{"flow_created"}
				}
				x.out = func() []byte {
					switch forward {
					case model.L2DSR:
						return w.forwarded(m, way{}.client)
					case model.IPIP, model.GUE:
						return w.encapsulated(m, forward, outerSources)
					}
					return w.forwarded(m, p.flow(t, w.client, w.vip, model.UDP).NAT)
				}
				if size > room {
					x.reason, x.out = "pass_mtu", nil
				}
				p.expect(t, w.request(m), x)
			})
		}
	})
}

func jumboWorld(forward model.Forward, w way) world {
	x := emptyWorld()
	for i, s := range outerSources {
		x.Tunnels[uint32(i)] = xlb.TunnelFrom(s, guePort)
	}
	x.source(0, "10.50.0.1")
	x.source(1, "fd10:50::1")
	x.service(1, forward, uint16(map[int]int{4: 0, 6: 1}[w.family()]), 1, w.vip.Addr().String())
	x.tracks(1, model.TrackAuto)
	x.backend(11, 1, w.backend.String())
	x.table(1, 11)
	return x
}

// A frame that says it is longer than all its buffers together is cut off.
func TestJumboCutOff(t *testing.T) {
	w := way{
		vip: at("192.0.2.50:80"), client: at("10.50.0.2:40000"), backend: at("10.50.0.11:80"),
		near: jumbo, clientMAC: mac(50, 2), far: jumbo, backendMAC: mac(50, 11), service: 1, number: 11,
	}
	p := newPlane(t, settings(), sizes(), jumboWorld(model.L2DSR, w))
	p.hook = xdpHook
	inside(t, "xdp", func(t *testing.T) {
		frame := w.request(udpMold("udp", shape{payload: 6000})).frame
		p.expect(t, packet{frame: frame[:len(frame)-1], ingress: jumbo}, want{reason: "pass_truncated"})
		p.expect(t, packet{frame: frame, ingress: jumbo}, want{
			reason: "tx", service: 1, backend: 11,
			out: func() []byte { return w.forwarded(udpMold("udp", shape{payload: 6000}), way{}.client) },
		})
	})
}

package bpf_test

import (
	"testing"
)

// Behind XDP, TC counts what it takes over and nothing that XDP has counted:
// the packet whose next hop XDP could not resolve is one flow and one request.
func TestCompanion(t *testing.T) {
	world := standard()
	world.backend(11, nat4, "10.20.0.99:8080")
	world.backend(41, dsr6, "[fd10:20::63]:80")
	p := newPlane(t, settings(), sizes(), world)
	inside(t, "behind xdp", func(t *testing.T) {
		for _, service := range []uint32{nat4, dsr6} {
			w := wayTo(service)
			w.backend = world.Backends[w.number].Address
			m := keepingMACs(segment(syn), w.requestEnds().link)
			p.hook = xdpHook
			p.expectTo(t, w, m, "pass_neighbour", "flow_created")
			p.hook = companion
			p.expectTo(t, w, m, "redirect")
		}
		p.hook = companion
		for _, service := range []uint32{nat4, nat6} {
			w := wayTo(service)
			for name, c := range strange(w) {
				inside(t, w.name+"/"+name, func(t *testing.T) {
					p.expect(t, packet{frame: c.frame, ingress: w.near}, want{verdict: "pass"})
				})
			}
		}
	})
}

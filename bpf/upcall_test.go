package bpf_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// The first packet of a flow goes to the daemon in every form that a packet may
// have, whole and with all that is known of it; so does the next, as long as
// nothing is decided.
func TestUpcall(t *testing.T) {
	p, r := policePlane(t, policed(model.OverloadDrop))
	for _, h := range []hook{xdpHook, tcHook, companion} {
		p.hook = h
		inside(t, h.name, func(t *testing.T) {
			for _, w := range ways() {
				for _, m := range molds() {
					if m.only != 0 && m.only != w.family() {
						continue
					}
					inside(t, w.name+"/"+m.name, func(t *testing.T) {
						for range 2 {
							begun := coarse(t)
							u := p.expectAsked(t, r, w, m)
							checkUpcall(t, u, w, m, h.name == xdpHook.name)
							if at := uint64(u.At); at < begun || at > coarse(t) {
								t.Errorf("it came at %v, between %d and now", u.At, begun)
							}
						}
					})
				}
			}
		})
	}
}

func checkUpcall(t *testing.T, u *xlb.Upcall, w way, m mold, xdp bool) {
	t.Helper()
	want := xlb.Upcall{
		Service: w.service, Ifindex: int(ifindex[w.near]), XDP: xdp, Hash: hashOf(w.client, w.vip, m.protocol),
		Source: w.client, Destination: w.vip, Protocol: m.protocol, TCPFlags: uint8(m.flags),
	}
	got := xlb.Upcall{
		Service: u.Service, Ifindex: u.Ifindex, XDP: u.XDP, Hash: u.Hash,
		Source: u.Source, Destination: u.Destination, Protocol: u.Protocol, TCPFlags: u.TCPFlags,
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("upcall\n%+v, want\n%+v", got, want)
	}
	if version := u.Frame[u.Network] >> 4; int(version) != w.family() {
		t.Errorf("at %d is no IPv%d header", u.Network, w.family())
	}
	ports := u.Frame[u.Transport:]
	if binary.BigEndian.Uint16(ports) != w.client.Port() || binary.BigEndian.Uint16(ports[2:]) != w.vip.Port() {
		t.Errorf("at %d is no transport header", u.Transport)
	}
}

// A connection in its middle is asked about as well, but not a RST of one that is
// not known.
func TestUpcallMidstream(t *testing.T) {
	policedWays(t, model.OverloadDrop, func(t *testing.T, p *plane, r *xlb.UpcallReader, w way) {
		for _, flags := range []testlab.TCPFlags{ack, fin | ack, syn | ack, testlab.PSH} {
			p.expectAsked(t, r, w, segment(flags))
		}
		if w.nat() {
			p.expect(t, w.request(segment(rst)), want{reason: "drop_no_flow", service: w.service})
		} else {
			p.expectSent(t, w, segment(rst), false)
		}
		p.expectSilence(t, r)
	})
}

// Frames of several buffers are copied whole, up to the longest that there is
// room for.
func TestUpcallJumbo(t *testing.T) {
	w := way{
		vip: at("192.0.2.50:80"), client: at("10.50.0.2:40000"), backend: at("10.50.0.11:80"),
		near: jumbo, clientMAC: mac(50, 2), far: jumbo, backendMAC: mac(50, 11), service: 1, number: 11,
	}
	world := jumboWorld(model.L2DSR, w)
	world.polices(1, model.OverloadDrop, plenty, plenty)
	p, r := policePlane(t, world)
	const longest, headers = 9216, 14 + 20 + 8
	p.bothHooks(t, func(t *testing.T) {
		for _, size := range []int{1500, 3000, 3500, 4000, 8000, longest, longest + 1} {
			if size > 3500 && p.hook.name == tcHook.name {
				continue // more than a test run of TC takes
			}
			m := udpMold("udp", shape{payload: size - headers})
			if size <= longest {
				p.expectAsked(t, r, w, m)
				continue
			}
			p.expect(t, w.request(m), want{reason: "drop_overload", service: 1, events: []string{"upcall_size"}})
			p.expectSilence(t, r)
		}
	})
}

// A recorded flow goes on without anybody's leave: the daemon may be gone.
func TestKnownFlowIsNotAsked(t *testing.T) {
	policedWays(t, model.OverloadDrop, func(t *testing.T, p *plane, r *xlb.UpcallReader, w way) {
		p.decide(t, p.expectAsked(t, r, w, segment(syn)), xlb.Decision{})
		p.expectNotAsked(t, r, w, segment(syn), "flow_created", "decided")
		for _, daemon := range []func() error{p.set.Heartbeat, p.set.Away} {
			if err := daemon(); err != nil {
				t.Fatal(err)
			}
			for _, flags := range []testlab.TCPFlags{syn, ack, testlab.PSH | ack, fin | ack, ack} {
				p.expectNotAsked(t, r, w, segment(flags))
			}
		}
	})
}

// Services without policies never ask.
func TestNoPolicies(t *testing.T) {
	p, r := policePlane(t, standard())
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range ways() {
			p.forgetPolicies(t, r)
			for _, m := range []mold{segment(syn), datagram()} {
				p.expectNotAsked(t, r, w, m, "flow_created")
			}
		}
	})
}

// expectOverload expects what becomes of a new flow that nobody is asked about,
// by the reason why not.
func (p *plane) expectOverload(t *testing.T, in packet, w way, m mold, mode model.OnOverload, event string) {
	t.Helper()
	if mode == model.OverloadDrop {
		p.expect(t, in, want{reason: "drop_overload", service: w.service, events: []string{event}})
		return
	}
	p.expect(t, in, want{
		reason: w.sends(), service: w.service, backend: w.number, events: append(m.created(), event),
		out: func() []byte { return w.forwarded(m, p.flow(t, w.client, w.vip, m.protocol).NAT) },
	})
}

func eachOverload(t *testing.T, f func(t *testing.T, p *plane, r *xlb.UpcallReader, w way, mode model.OnOverload)) {
	for _, mode := range []model.OnOverload{model.OverloadContinue, model.OverloadDrop} {
		t.Run(mode.String(), func(t *testing.T) {
			policedWays(t, mode, func(t *testing.T, p *plane, r *xlb.UpcallReader, w way) { f(t, p, r, w, mode) })
		})
	}
}

// Nobody waits for a daemon that has not been heard of for a second, or that has
// said that it goes.
func TestDaemonAway(t *testing.T) {
	eachOverload(t, func(t *testing.T, p *plane, r *xlb.UpcallReader, w way, mode model.OnOverload) {
		p.expectAsked(t, r, w, segment(syn))
		for i, beat := range []uint64{0, coarse(t) - uint64(1100*time.Millisecond)} {
			p.put(t, "heartbeat", 0, beat)
			w := w.fromPort(40100 + uint16(i))
			for _, m := range []mold{segment(syn), datagram()} {
				p.expectOverload(t, w.request(m), w, m, mode, "upcall_away")
				p.expectSilence(t, r)
			}
		}
		p.put(t, "heartbeat", 0, coarse(t)-uint64(500*time.Millisecond))
		p.expect(t, w.fromPort(40200).request(segment(syn)), want{reason: "upcall", verdict: "drop"})
		if n := len(p.waiting(t, r)); n != 1 {
			t.Errorf("%d upcalls", n)
		}
	})
}

// A super-packet cannot be injected as it came.
func TestUpcallSuperPacket(t *testing.T) {
	eachOverload(t, func(t *testing.T, p *plane, r *xlb.UpcallReader, w way, mode model.OnOverload) {
		if p.hook.name != tcHook.name {
			return // XDP sees none
		}
		m := tcpMold("data", ack, shape{payload: 2800})
		in := w.request(m)
		in.segment = 1400
		p.expectOverload(t, in, w, m, mode, "upcall_size")
		p.expectSilence(t, r)
	})
}

// A full ring buffer is said so, and nothing in it is lost.
func TestUpcallRingFull(t *testing.T) {
	eachOverload(t, func(t *testing.T, p *plane, r *xlb.UpcallReader, w way, mode model.OnOverload) {
		m := udpMold("udp", shape{payload: 1400})
		const ring, record = 2 << 20, 1400 + 200
		before := p.counters(t)["reason upcall packets"]
		for range ring / 1400 {
			if err := p.set.Heartbeat(); err != nil {
				t.Fatal(err)
			}
			if _, _, err := p.run(w.request(m)); err != nil {
				t.Fatal(err)
			}
		}
		put := int(p.counters(t)["reason upcall packets"] - before)
		p.forget(t) // with `continue` the last ones were recorded
		p.expectOverload(t, w.request(m), w, m, mode, "upcall_ring")
		if n := len(p.waiting(t, r)); n != put || n < ring/record {
			t.Errorf("%d upcalls read of %d", n, put)
		}
		p.expectAsked(t, r, w.fromPort(40001), m)
	})
}

package bpf_test

import (
	"net/netip"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
)

// Every form of packet to every service and back: the exact bytes that leave.
func TestForward(t *testing.T) {
	p := newPlane(t, settings(), sizes(), standard())
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range ways() {
			for _, m := range molds() {
				if m.only != 0 && m.only != w.family() {
					continue
				}
				inside(t, w.name+"/"+m.name, func(t *testing.T) {
					p.forget(t)
					p.thereAndBack(t, w, m)
				})
			}
		}
	})
}

func (p *plane) thereAndBack(t *testing.T, w way, m mold) {
	t.Helper()
	nat := p.expectRequest(t, w, m, m.created()...)
	if w.nat() {
		p.expectReply(t, w, m, nat)
	}
	// The flow is known now: nothing is made any more.
	if again := p.expectRequest(t, w, m); again != nat {
		t.Errorf("the second packet left from %v, the first from %v", again, nat)
	}
}

// expectRequest sends the way's packet and expects it to be forwarded, right
// to the last byte, counted and with these events. It returns the flow's nat
// source.
func (p *plane) expectRequest(t *testing.T, w way, m mold, events ...string) netip.AddrPort {
	t.Helper()
	var nat netip.AddrPort
	out := p.expect(t, w.request(m), want{
		reason: w.sends(), service: w.service, backend: w.number, events: events,
		out: func() []byte {
			nat = p.flow(t, w.client, w.vip, m.protocol).NAT
			return w.forwarded(m, nat)
		},
	})
	if err := testlab.Check(out); err != nil {
		t.Error(err)
	}
	return nat
}

// expectReply sends the backend's packet to nat and expects it to reach the
// client.
func (p *plane) expectReply(t *testing.T, w way, m mold, nat netip.AddrPort) {
	t.Helper()
	out := p.expect(t, w.reply(m, nat), want{
		reason: w.sends(), service: w.service, backend: w.number, reply: true,
		out: func() []byte { return w.returned(m) },
	})
	if err := testlab.Check(out); err != nil {
		t.Error(err)
	}
}

// connect makes a way's TCP connection: handshake and the client's first word.
func (p *plane) connect(t *testing.T, w way) netip.AddrPort {
	t.Helper()
	nat := p.expectRequest(t, w, segment(testlab.SYN), "flow_created")
	if w.nat() {
		p.expectReply(t, w, segment(testlab.SYN|testlab.ACK), nat)
	}
	p.expectRequest(t, w, segment(testlab.ACK))
	return nat
}

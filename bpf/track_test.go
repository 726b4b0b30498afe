package bpf_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// The backends of changing: the slot's present one, the one before it, and one
// that a recorded flow may have.
const (
	present  = 31
	previous = 32
	other    = 33
)

// changing is a world of one l2dsr service whose every slot has passed from
// previous to present.
func changing(track model.Track) world {
	w := emptyWorld()
	w.service(dsr4, model.L2DSR, 0, 0, "192.0.2.20")
	w.tracks(dsr4, track)
	w.backend(present, dsr4, "10.20.0.11:80")
	w.backend(previous, dsr4, "10.20.0.12:80")
	w.backend(other, dsr4, "10.20.0.13:80")
	w.table(dsr4, present)
	w.mark(dsr4, previous)
	return w
}

func (w world) tracks(service uint32, track model.Track) {
	s := w.Services[service]
	s.Track = track
	w.Services[service] = s
}

// mark marks all of a service's slots.
func (w world) mark(service, previous uint32) {
	t := w.Tables[service]
	t.Marked = nil
	for i := range t.Present {
		t.Marked = append(t.Marked, xlb.Mark{Slot: uint32(i), Previous: previous})
	}
	w.Tables[service] = t
}

// toBackend is the way to another backend of the service.
func (w way) toBackend(number uint32) way {
	w.number = number
	w.backendMAC = mac(20, byte(11+number-present))
	return w
}

// expectSent sends a packet and expects it at a backend.
func (p *plane) expectSent(t *testing.T, w way, m mold, begun bool, events ...string) {
	t.Helper()
	p.expect(t, w.request(m), want{
		reason: w.sends(), service: w.service, backend: w.number, events: events, begun: begun,
		out: func() []byte { return w.leaving(m)(w.forwardedEnds(netip.AddrPort{})) },
	})
}

// In a slot that is not marked nothing is looked up and nothing recorded, whatever
// the packet; every SYN counts as a flow.
func TestUnmarkedSlot(t *testing.T) {
	w := changing(model.TrackAuto)
	w.table(dsr4, present)
	p := newPlane(t, settings(), sizes(), w)
	p.bothHooks(t, func(t *testing.T) {
		to := wayTo(dsr4).toBackend(present)
		for range 3 {
			p.expectSent(t, to, segment(testlab.SYN), true)
			p.expectSent(t, to, segment(testlab.ACK), false)
			p.expectSent(t, to, segment(testlab.FIN|testlab.ACK), false)
			p.expectSent(t, to, segment(testlab.RST), false)
			p.expectSent(t, to, datagram(), false)
		}
		if n := p.flowCount(); n != 0 {
			t.Errorf("%d flows are recorded", n)
		}
	})
}

// In a marked slot a SYN begins a connection with the present backend, anything
// else of an unknown flow goes on with the previous one, and both are recorded.
func TestMarkedSlot(t *testing.T) {
	p := newPlane(t, settings(), sizes(), changing(model.TrackAuto))
	p.bothHooks(t, func(t *testing.T) {
		to := wayTo(dsr4)
		fresh, old := to.toBackend(present), to.fromPort(40001).toBackend(previous)
		p.expectSent(t, fresh, segment(testlab.SYN), false, "flow_created")
		p.expectSent(t, fresh, segment(testlab.ACK), false)
		p.expectSent(t, old, segment(testlab.ACK), false, "flow_created", "flow_midstream", "flow_inherited")
		p.expectSent(t, old, segment(testlab.ACK), false)
		p.expectSent(t, old, datagram(), false, "flow_created", "flow_inherited")
		p.expectSent(t, old, datagram(), false)

		// Another change: what is recorded stays, what is not is the oldest's.
		w := world{p.held}.clone()
		w.table(dsr4, other)
		w.mark(dsr4, previous)
		p.hold(t, w)
		p.expectSent(t, fresh, segment(testlab.ACK), false)
		p.expectSent(t, old, segment(testlab.ACK), false)
		p.expectSent(t, to.fromPort(40002).toBackend(other), segment(testlab.SYN), false, "flow_created")
		p.expectSent(t, to.fromPort(40003).toBackend(previous), segment(testlab.ACK), false, "flow_created", "flow_midstream", "flow_inherited")
	})
}

// A previous backend that no longer serves, or belongs to another service, or is
// none, inherits nothing.
func TestPreviousGone(t *testing.T) {
	for name, spoil := range map[string]func(world){
		"down":            func(w world) { w.serves(previous, false) },
		"another's":       func(w world) { w.backend(previous, nat4, "10.20.0.12:80") },
		"removed":         func(w world) { delete(w.Backends, previous) },
		"none":            func(w world) { w.mark(dsr4, 0) },
		"the present one": func(w world) { w.mark(dsr4, present) },
	} {
		t.Run(name, func(t *testing.T) {
			w := changing(model.TrackAuto)
			spoil(w)
			p := newPlane(t, settings(), sizes(), w)
			p.bothHooks(t, func(t *testing.T) {
				to := wayTo(dsr4).toBackend(present)
				p.expectSent(t, to, segment(testlab.ACK), false, "flow_created", "flow_midstream")
				p.expectSent(t, to, segment(testlab.ACK), false)
			})
		})
	}
}

// A recorded flow leaves a backend that no longer serves, for the present one.
func TestMarkedSlotBackendDown(t *testing.T) {
	p := newPlane(t, settings(), sizes(), changing(model.TrackAuto))
	p.bothHooks(t, func(t *testing.T) {
		to := wayTo(dsr4)
		p.expectSent(t, to.toBackend(previous), segment(testlab.ACK), false, "flow_created", "flow_midstream", "flow_inherited")
		w := world{p.held}.clone()
		w.serves(previous, false)
		p.hold(t, w)
		p.expectSent(t, to.toBackend(present), segment(testlab.ACK), false, "flow_created", "flow_midstream", "flow_moved")
	})
}

// A recorded flow that was idle too long is unknown again.
func TestMarkedSlotExpiry(t *testing.T) {
	p := newPlane(t, settings(), sizes(), changing(model.TrackAuto))
	p.bothHooks(t, func(t *testing.T) {
		to := wayTo(dsr4).toBackend(present)
		p.expectSent(t, to, segment(testlab.SYN), false, "flow_created")
		p.expectSent(t, to, segment(testlab.ACK), false)
		p.age(t, timeouts.TCPEstablished+2*time.Second)
		p.expectSent(t, wayTo(dsr4).toBackend(previous), segment(testlab.ACK), false, "flow_created", "flow_midstream", "flow_inherited")
	})
}

// track: always records in every slot, and knows what a mark says too.
func TestTrackAlways(t *testing.T) {
	w := changing(model.TrackAlways)
	p := newPlane(t, settings(), sizes(), w)
	p.bothHooks(t, func(t *testing.T) {
		to := wayTo(dsr4)
		p.expectSent(t, to.toBackend(previous), segment(testlab.ACK), false, "flow_created", "flow_midstream", "flow_inherited")
		plain := world{p.held}.clone()
		plain.table(dsr4, other)
		p.hold(t, plain)
		p.expectSent(t, to.toBackend(previous), segment(testlab.ACK), false)
		p.expectSent(t, to.fromPort(40001).toBackend(other), segment(testlab.ACK), false, "flow_created", "flow_midstream")
	})
}

// track: never follows the table, whatever is marked or recorded.
func TestTrackNever(t *testing.T) {
	p := newPlane(t, settings(), sizes(), changing(model.TrackAuto))
	p.bothHooks(t, func(t *testing.T) {
		to := wayTo(dsr4)
		p.expectSent(t, to.toBackend(previous), segment(testlab.ACK), false, "flow_created", "flow_midstream", "flow_inherited")
		w := world{p.held}.clone()
		w.tracks(dsr4, model.TrackNever)
		p.hold(t, w)
		p.expectSent(t, to.toBackend(present), segment(testlab.ACK), false)
		p.expectSent(t, to.toBackend(present), datagram(), false)
		p.expectSent(t, to.toBackend(present), segment(testlab.SYN), true)
		if n := p.flowCount(); n != 1 {
			t.Errorf("%d flows are recorded, want the first", n)
		}
	})
}

// Each slot stands for itself: marks of others do not matter.
func TestOneMarkedSlot(t *testing.T) {
	w := changing(model.TrackAuto)
	to := wayTo(dsr4)
	marked := slotOf(to.client, to.vip, model.TCP)
	w.Tables[dsr4] = xlb.Table{Present: w.Tables[dsr4].Present, Marked: []xlb.Mark{{Slot: uint32(marked), Previous: previous}}}
	p := newPlane(t, settings(), sizes(), w)
	p.bothHooks(t, func(t *testing.T) {
		for port := range uint16(100) {
			x := to.fromPort(40000 + port)
			if slotOf(x.client, x.vip, model.TCP) == marked {
				p.expectSent(t, x.toBackend(previous), segment(testlab.ACK), false, "flow_created", "flow_midstream", "flow_inherited")
			} else {
				p.expectSent(t, x.toBackend(present), segment(testlab.ACK), false)
			}
		}
	})
}

// A connection that is first seen in its middle is established, and remembered
// as long as one.
func TestInheritedStays(t *testing.T) {
	p := newPlane(t, settings(), sizes(), changing(model.TrackAuto))
	p.bothHooks(t, func(t *testing.T) {
		to := wayTo(dsr4).toBackend(previous)
		p.expectSent(t, to, segment(testlab.ACK), false, "flow_created", "flow_midstream", "flow_inherited")
		if f := p.flow(t, to.client, to.vip, model.TCP); f.State != "established" {
			t.Errorf("its state is %s", f.State)
		}
		settled := world{p.held}.clone()
		settled.table(dsr4, present)
		settled.mark(dsr4, present)
		p.hold(t, settled)
		p.age(t, timeouts.TCPSyn+2*time.Second)
		p.expectSent(t, to, segment(testlab.ACK), false)
	})
}

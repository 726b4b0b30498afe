package control

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// flowTimeout is the longest idle timeout of a flow in a history.
const flowTimeout = 100 * time.Second

// network is a data plane and its clients, who complain if one of their
// connections moves that may not.
type network interface {
	dataPlane
	// traffic is some packets of some clients.
	traffic(packets int)
	// check checks what must hold between two writes.
	check()
	clock() time.Time
	// pass lets time pass.
	pass(time.Duration)
	// fail makes the next writes fail half-way, or not; calm is for good.
	fail(yes bool)
	calm()
	say(format string, args ...any)
	// story is what was said last.
	story() string
}

// journal is what happened in a history.
type journal struct {
	at    time.Duration // since its beginning
	lines []string
}

func (j *journal) say(format string, args ...any) {
	j.lines = append(j.lines, fmt.Sprintf("%6.1fs ", j.at.Seconds())+fmt.Sprintf(format, args...))
}

func (j *journal) story() string {
	return strings.Join(j.lines[max(0, len(j.lines)-30):], "\n")
}

func (j *journal) sayChanges(c maps.Changes) {
	for _, s := range c.Services {
		if s.New != nil {
			j.say("write service %d: track %s", s.Key, s.New.Track)
		}
	}
	for _, b := range c.Backends {
		if b.New != nil {
			j.say("write backend %d: %+v", b.Key, *b.New)
		} else {
			j.say("delete backend %d", b.Key)
		}
	}
	for _, t := range c.Tables {
		if t.New != nil {
			j.say("write table %d: %v", t.Key, *t.New)
		}
	}
}

// history is a daemon, or several after each other, in front of a network.
type history struct {
	*rand.Rand
	*controller
	t       *testing.T
	seed    uint64
	network network
	cfg     *model.Config
	// address is that of the n-th backend, from 1, of a service.
	address func(service, n int) netip.AddrPort
	// steers: services steer some of the clients, now these and now those, to
	// the backends of a zone.
	steers bool
}

// begin gives the history its first configuration, made of cfg, and daemon.
func (h *history) begin() *history {
	h.change()
	h.start()
	return h
}

// start starts a daemon, in place of the one before.
func (h *history) start() {
	h.stop()
	h.controller = newController(parts{
		data: h.network, host: &machine{}, operator: &operatorStore{}, log: quiet(), timing: usual, now: h.network.clock,
	}, h.cfg)
}

func (h *history) stop() {
	if h.controller != nil {
		h.prober.Close()
		h.discovery.Close()
	}
}

// change makes another configuration out of the present one.
func (h *history) change() {
	cfg := *h.cfg
	cfg.Services = slices.Clone(cfg.Services)
	at := h.IntN(len(cfg.Services))
	s := &cfg.Services[at]
	switch n := h.IntN(8); {
	case h.steers && h.IntN(3) == 0:
		s.Rules = h.steering()
	case n == 0:
		s.Track = []model.Track{model.TrackAuto, model.TrackAuto, model.TrackAlways, model.TrackAlways, model.TrackNever}[h.IntN(5)]
	case n == 1:
		s.Fail = []model.FailMode{model.FailOpen, model.FailClosed}[h.IntN(2)]
	default:
		s.Backends = nil
		for b := range 5 {
			if h.IntN(4) > 0 {
				s.Backends = append(s.Backends, model.Backend{
					Address: h.address(at, b+1), Weight: uint16(h.IntN(4)), Drain: h.IntN(8) == 0,
					Zone: []string{"a", "b"}[b%2],
				})
			}
		}
	}
	h.cfg = &cfg
	if h.controller != nil {
		h.adopt(&cfg)
	}
}

// steering is rules that send some of the clients to a zone, or none.
func (h *history) steering() (r model.Rules) {
	zones := []model.Subset{{Zone: "a"}, {Zone: "b"}, {Zone: "nobody's"}}
	for range h.IntN(3) {
		prefix := netip.PrefixFrom(steered4, 28+h.IntN(5)).Masked()
		if h.IntN(2) == 0 {
			prefix = netip.PrefixFrom(steered6, 124+h.IntN(5)).Masked()
		}
		r.Steer = append(r.Steer, model.Steer{From: []model.Origin{{Prefix: prefix}}, To: zones[h.IntN(len(zones))]})
	}
	if h.IntN(3) == 0 {
		r.Default = zones[h.IntN(len(zones))]
	}
	return r
}

// The first of sixteen clients of each family.
var steered4, steered6 = addr("198.51.100.0"), addr("2001:db8:c::")

// flap changes what the probes say.
func (h *history) flap() {
	s := h.cfg.Services[h.IntN(len(h.cfg.Services))]
	if len(s.Backends) == 0 {
		return
	}
	key := probe.Key{Service: s.Name, Backend: s.Backends[h.IntN(len(s.Backends))].Address}
	h.health[key] = model.BackendHealth{State: model.Health(h.IntN(3))}
	h.touch(s.Name)
}

// settle makes a round if one is due.
func (h *history) settle() {
	if !h.due() {
		return
	}
	h.network.fail(h.IntN(10) == 0)
	h.reconcile()
	h.network.check()
}

func (h *history) sweep(between func()) {
	if h.plan == nil {
		return
	}
	found := h.sweeper()()
	between()
	h.swept(found)
}

func (h *history) step() {
	switch h.IntN(12) {
	case 0, 1, 2:
		h.change()
		h.settle()
	case 3:
		h.flap()
		h.settle()
	case 4, 5, 6:
		h.sweep(func() {
			h.network.traffic(h.IntN(5))
			if h.IntN(3) == 0 {
				h.change()
				h.settle()
				h.network.traffic(h.IntN(5))
			}
		})
		h.network.traffic(h.IntN(3))
		h.settle()
	case 7:
		if h.IntN(4) == 0 {
			h.network.say("restart")
			h.start()
			h.dirty = true
			h.settle()
		}
	case 8:
		h.network.pass(time.Duration(h.IntN(130)) * time.Second)
	default:
		h.network.pass(time.Duration(h.IntN(20)) * time.Second)
		h.network.traffic(h.IntN(15))
	}
}

// play plays a history to its end. It returns how many marked tables it saw.
func (h *history) play(steps int) (marked int) {
	done := false
	defer func() {
		if !done {
			h.t.Logf("seed %d\n%s", h.seed, h.network.story())
		}
		h.stop()
	}()
	h.dirty = true
	h.settle()
	for range steps {
		h.step()
		if h.plan != nil {
			marked += len(h.plan.transitions)
		}
	}
	h.quiesce()
	done = true
	return marked
}

// quiesce lets everybody fall silent: then all marks go, and all backends that
// are not configured.
func (h *history) quiesce() {
	h.network.calm()
	for range 6 {
		h.network.pass(flowTimeout + 2*clockSlack)
		h.sweep(func() {})
		if h.due() {
			h.reconcile()
		}
	}
	if h.plan == nil {
		return // started with more than fits, and never swept
	}
	contents, err := h.network.Read()
	if err != nil {
		fatalf(h.t, "%v", err)
	}
	for id, table := range contents.Tables {
		if len(table.Marked) > 0 {
			fatalf(h.t, "nobody speaks, and %d slots of service %d are still marked", len(table.Marked), id)
		}
	}
	for _, s := range h.plan.Services {
		for _, b := range s.Backends {
			if b.State == "retired" {
				fatalf(h.t, "nobody speaks, and backend %s is still retired", b.Address)
			}
		}
	}
}

// fatalf is Fatalf for any goroutine.
func fatalf(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Errorf(format, args...)
	runtime.Goexit()
}

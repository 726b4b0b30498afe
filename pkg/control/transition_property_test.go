package control

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// The idle timeout of every flow here.
const flowTimeout = 100 * time.Second

// connection is a client's.
type connection struct {
	service uint32
	slot    uint32
	// home is the backend it is with; invalid if it may move: then the next
	// packet decides.
	home netip.AddrPort
	last time.Time // packet
}

type flowRecord struct {
	service, backend uint32
	last             time.Time
}

// wire is a data plane without a kernel, with its flow table and its clients. It
// follows the rules told at maps.Table.
type wire struct {
	*memory
	*rand.Rand
	t       *testing.T
	time    time.Time
	clients []*connection
	records map[*connection]*flowRecord
	// during is called between the steps of a write.
	during func()
	moved  int // flows that could be inherited, for the test's own check
	log    []string
}

func (w *wire) say(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%6.1fs ", w.time.Sub(time.Unix(0, 0)).Seconds())+fmt.Sprintf(format, args...))
}

func (w *wire) Apply(c maps.Changes) error {
	for _, s := range c.Services {
		if s.New != nil {
			w.say("write service %d: track %s", s.Key, s.New.Track)
		}
	}
	for _, b := range c.Backends {
		if b.New != nil {
			w.say("write backend %d: %+v", b.Key, *b.New)
		} else {
			w.say("delete backend %d", b.Key)
		}
	}
	for _, t := range c.Tables {
		if t.New != nil {
			w.say("write table %d: %v", t.Key, *t.New)
		}
	}
	w.applies++
	broken := -1
	if w.failing != nil {
		broken = w.IntN(5)
	}
	removes := func(del bool) maps.Changes {
		return maps.Changes{
			Backends: slices.DeleteFunc(slices.Clone(c.Backends), func(x maps.Change[uint32, maps.Backend]) bool { return (x.New == nil) != del }),
			Services: slices.DeleteFunc(slices.Clone(c.Services), func(x maps.Change[uint32, maps.Service]) bool { return (x.New == nil) != del }),
			Tables:   slices.DeleteFunc(slices.Clone(c.Tables), func(x maps.Change[uint32, maps.Table]) bool { return (x.New == nil) != del }),
		}
	}
	puts, deletes := removes(false), removes(true)
	for i, step := range []func(){
		func() { put(w.contents.Backends, puts.Backends) },
		func() {
			for _, t := range puts.Tables {
				w.contents.Tables[t.Key] = *t.New
				w.during()
			}
		},
		func() { put(w.contents.Services, puts.Services) },
		func() { put(w.contents.VIPs, c.VIPs) },
		func() {
			put(w.contents.Tables, deletes.Tables)
			put(w.contents.Services, deletes.Services)
			for _, b := range deletes.Backends {
				w.forget(*b.Old)
			}
			put(w.contents.Backends, deletes.Backends)
		},
	} {
		if i == broken {
			w.say("the write fails")
			return w.failing
		}
		step()
		w.excuse()
		w.during()
	}
	return nil
}

// forget lets flows move whose backend did not serve when it was removed.
func (w *wire) forget(b maps.Backend) {
	for _, c := range w.clients {
		if c.service == b.Service && c.home == b.Address && !b.Serves {
			c.home = netip.AddrPort{}
		}
	}
}

// excuse lets flows move of services that track none.
func (w *wire) excuse() {
	for _, c := range w.clients {
		if w.tracking(c) == tracksNever {
			c.home = netip.AddrPort{}
		}
	}
}

func (w *wire) tracking(c *connection) tracking { return trackingOf(w.contents.Services[c.service]) }

func (w *wire) live(last time.Time) bool { return w.time.Sub(last) <= flowTimeout }

func (w *wire) serves(service, id uint32) bool {
	b, ok := w.contents.Backends[id]
	return ok && b.Service == service && b.Serves
}

// route is the data plane: the backend of a packet.
func (w *wire) route(c *connection, syn bool) uint32 {
	t, ok := w.contents.Tables[c.service]
	if !ok {
		return 0
	}
	tracking := w.tracking(c)
	present := t.Present[c.slot]
	at, marked := slices.BinarySearchFunc(t.Marked, c.slot, func(m maps.Mark, s uint32) int { return int(m.Slot) - int(s) })
	if tracking == tracksNever || tracking == tracksMarked && !marked {
		return present
	}
	if r := w.records[c]; r != nil && w.live(r.last) && w.serves(c.service, r.backend) {
		r.last = w.time
		return r.backend
	}
	to := present
	if marked && !syn && w.serves(c.service, t.Marked[at].Previous) {
		to = t.Marked[at].Previous
		w.moved++
	}
	if to != 0 {
		w.records[c] = &flowRecord{c.service, to, w.time}
	}
	return to
}

// packet sends one, and checks where it goes.
func (w *wire) packet(c *connection, syn bool) {
	live := !syn && c.home.IsValid() && w.live(c.last)
	id := w.route(c, syn)
	c.last = w.time
	if live && w.homeServes(c) {
		if got := w.contents.Backends[id]; got.Address != c.home || got.Service != c.service {
			w.t.Fatalf("a connection of service %d, slot %d, moved from %s to %v (number %d); table %+v, record %+v",
				c.service, c.slot, c.home, got.Address, id, w.contents.Tables[c.service], w.records[c])
		}
		return
	}
	if w.tracking(c) != tracksNever {
		c.home = w.contents.Backends[id].Address
	}
	if _, ok := w.contents.Backends[id]; id != 0 && !ok {
		w.t.Fatalf("a packet goes to backend number %d, which is not there", id)
	}
}

// homeServes: a backend whose entry is gone is one that could serve still, or
// forget would have noted it.
func (w *wire) homeServes(c *connection) bool {
	for _, b := range w.contents.Backends {
		if b.Service == c.service && b.Address == c.home {
			return b.Serves
		}
	}
	return true
}

// traffic is some packets of some clients.
func (w *wire) traffic(packets int) {
	w.clients = slices.DeleteFunc(w.clients, func(c *connection) bool { return !w.live(c.last) && w.IntN(4) == 0 })
	for range packets {
		if w.IntN(3) == 0 || len(w.clients) == 0 {
			var services []uint32
			for id := range w.contents.Services {
				services = append(services, id)
			}
			if len(services) == 0 {
				return
			}
			slices.Sort(services)
			c := &connection{service: services[w.IntN(len(services))], slot: uint32(w.IntN(w.sizes.Table))}
			w.packet(c, true)
			w.clients = append(w.clients, c)
			continue
		}
		w.packet(w.clients[w.IntN(len(w.clients))], false)
	}
}

// check is the first of the invariants told in transition.go.
func (w *wire) check() {
	for _, c := range w.clients {
		t, ok := w.contents.Tables[c.service]
		if !ok || !c.home.IsValid() || !w.live(c.last) || w.tracking(c) != tracksMarked || !w.homeServes(c) {
			continue
		}
		if slices.ContainsFunc(t.Marked, func(m maps.Mark) bool { return m.Slot == c.slot }) {
			continue
		}
		if b := w.contents.Backends[t.Present[c.slot]]; b.Address != c.home {
			w.t.Fatalf("slot %d of service %d is not marked, has backend %s, and a live flow with %s", c.slot, c.service, b.Address, c.home)
		}
	}
}

func (w *wire) FlowCounts() map[uint32]int {
	out := map[uint32]int{}
	for _, r := range w.records {
		if w.live(r.last) {
			out[r.backend]++
		}
	}
	return out
}

func (w *wire) Strays(tables map[uint32]maps.Table) (map[uint32]maps.Slots, error) {
	out := map[uint32]maps.Slots{}
	for id, t := range tables {
		out[id] = maps.NewSlots(len(t.Present))
		for c, r := range w.records {
			if r.service == id && w.live(r.last) && t.Present[c.slot] != r.backend {
				out[id].Add(c.slot)
			}
		}
	}
	if w.IntN(20) == 0 {
		return nil, errors.New("no memory")
	}
	return out, nil
}

// history is a daemon, or several after each other, in front of a wire.
type history struct {
	*wire
	*controller
	cfg *model.Config
}

func newHistory(t *testing.T, seed uint64) *history {
	w := &wire{memory: newMemory(), Rand: rand.New(rand.NewPCG(seed, 2)), t: t, time: time.Unix(0, 0), records: map[*connection]*flowRecord{}}
	w.sizes = maps.Sizes{Services: 4, Backends: 14, Frontends: 16, Sources: 2, Table: 13, Flows: 64}
	w.during = func() { w.traffic(w.IntN(4)) }
	h := &history{wire: w, cfg: &model.Config{}}
	protocol := []model.Protocol{model.TCP, model.UDP}[w.IntN(2)]
	for i := range 2 {
		s := service(fmt.Sprintf("s%d", i), fmt.Sprintf("203.0.113.%d:80", 1+i))
		s.Frontends[0].Protocol = protocol
		s.Forward, s.Track = model.L2DSR, model.TrackAuto
		s.Timeouts = model.Timeouts{TCPSyn: flowTimeout, TCPEstablished: flowTimeout, TCPFin: flowTimeout, TCPClosed: flowTimeout, UDP: flowTimeout}
		h.cfg.Services = append(h.cfg.Services, s)
	}
	h.change()
	h.start()
	return h
}

// start starts a daemon, in place of the one before.
func (h *history) start() {
	h.stop()
	overrides := &overrideStore{}
	h.controller = newController(parts{
		data: h.wire, host: &machine{}, overrides: overrides, log: quiet(), timing: usual,
		now: func() time.Time { return h.time },
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
	s := &cfg.Services[h.IntN(len(cfg.Services))]
	switch h.IntN(8) {
	case 0:
		s.Track = []model.Track{model.TrackAuto, model.TrackAuto, model.TrackAlways, model.TrackNever}[h.IntN(4)]
	case 1:
		s.Fail = []model.FailMode{model.FailOpen, model.FailClosed}[h.IntN(2)]
	default:
		s.Backends = nil
		for b := range 5 {
			if h.IntN(4) > 0 {
				s.Backends = append(s.Backends, model.Backend{
					Address: ap(fmt.Sprintf("10.0.%c.%d:80", s.Name[1], b+1)), Weight: uint16(h.IntN(4)), Drain: h.IntN(8) == 0,
				})
			}
		}
	}
	h.cfg = &cfg
	if h.controller != nil {
		h.adopt(&cfg)
	}
}

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
	h.failing = nil
	if h.IntN(15) == 0 {
		h.failing = errors.New("no memory")
	}
	h.reconcile()
	h.wire.check()
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
			h.traffic(h.IntN(5))
			if h.IntN(3) == 0 {
				h.change()
				h.settle()
				h.traffic(h.IntN(5))
			}
		})
		h.traffic(h.IntN(3))
		h.settle()
	case 7:
		if h.IntN(4) == 0 {
			h.say("restart")
			h.start()
			h.dirty = true
			h.settle()
		}
	case 8:
		h.time = h.time.Add(time.Duration(h.IntN(130)) * time.Second)
	default:
		h.time = h.time.Add(time.Duration(h.IntN(20)) * time.Second)
		h.traffic(h.IntN(15))
	}
}

// TestNoConnectionMoves plays histories of changes, sweeps, restarts and
// traffic: no live connection to a backend that serves may move.
func TestNoConnectionMoves(t *testing.T) {
	histories := uint64(1500)
	if testing.Short() {
		histories = 200
	}
	inherited, marked := 0, 0
	for seed := range histories {
		h := newHistory(t, seed)
		func() {
			defer func() {
				if t.Failed() {
					t.Logf("seed %d\n%s", seed, strings.Join(h.log[max(0, len(h.log)-30):], "\n"))
				}
				h.stop()
			}()
			h.dirty = true
			h.settle()
			for range 60 {
				h.step()
				if h.plan != nil {
					marked += len(h.plan.transitions)
				}
			}
			h.quiesce()
		}()
		inherited += h.moved
	}
	if inherited < 1000 || marked < 1000 {
		t.Errorf("%d packets of unknown flows met %d marked tables: the histories are too tame", inherited, marked)
	}
}

// quiesce lets everybody fall silent: then all marks go, and all backends that
// are not configured.
func (h *history) quiesce() {
	h.failing = nil
	for range 6 {
		h.time = h.time.Add(flowTimeout + 2*clockSlack)
		h.sweep(func() {})
		if h.due() {
			h.reconcile()
		}
	}
	if h.plan == nil {
		return // started with more than fits, and never swept
	}
	for id, table := range h.contents.Tables {
		if len(table.Marked) > 0 {
			h.t.Fatalf("nobody speaks, and %d slots of service %d are still marked", len(table.Marked), id)
		}
	}
	for _, s := range h.plan.Services {
		for _, b := range s.Backends {
			if b.State == "retired" {
				h.t.Fatalf("nobody speaks, and backend %s is still retired", b.Address)
			}
		}
	}
}

package control

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// kernelWire is the kernel's data plane with its clients. Packets are sent
// while maps are written too.
type kernelWire struct {
	*kernelPlane
	*rand.Rand
	journal
	t        *testing.T
	services []model.Service
	// down says whether the probes say so.
	down    func(service int, backend netip.AddrPort) bool
	skipped time.Duration // what its clock is ahead of the kernel's
	failing bool
	calmed  bool
	callers []*caller
	ports   uint16
	// before and after are what the maps hold; they differ during a write.
	before, after maps.Contents
	writes        int  // that began, and that ended: odd during one
	failed        bool // the last of them
	packets       int
}

// Now is real time and what was skipped: the kernel's clock does not stop for a
// test, and neither does this.
func (w *kernelWire) clock() time.Time { return time.Now().Add(w.skipped) }

func (w *kernelWire) pass(d time.Duration) {
	w.skipped += d
	w.at += d
	w.age(d)
}

func (w *kernelWire) fail(yes bool) { w.failing = yes }

func (w *kernelWire) calm() { w.failing, w.calmed = false, true }

// check makes everybody speak now and then, and after a write that failed.
func (w *kernelWire) check() {
	if !w.failed && w.IntN(4) > 0 {
		return
	}
	for _, c := range w.callers {
		w.send(c, testlab.ACK)
	}
}

// number is that of a service in the maps, 0 if it is not there.
func (w *kernelWire) number(service int, c maps.Contents) uint32 {
	f := w.services[service].Frontends[0]
	return c.VIPs[maps.VIPKey{Address: f.VIP, Port: f.Port, Protocol: f.Protocol}].Service
}

func (w *kernelWire) Apply(c maps.Changes) error {
	w.sayChanges(c)
	// A change of tracking is rare, and needs its order most.
	if w.failing || !w.calmed && len(c.Services) > 0 && w.IntN(3) == 0 {
		c = w.spoilt(c)
	}
	w.beginWrite(c)
	done := make(chan error, 1)
	go func() { done <- w.Set.Apply(c) }()
	// The kernel takes some milliseconds for a table; the rest is quickly done.
	for range 12 {
		w.traffic(1)
		var pause time.Duration
		if w.IntN(2) == 0 {
			pause = time.Duration(w.IntN(2000)) * time.Microsecond
		}
		select {
		case err := <-done:
			return w.endWrite(err)
		case <-time.After(pause):
		}
	}
	return w.endWrite(<-done)
}

// spoilt are the changes with one among them that the maps do not take.
func (w *kernelWire) spoilt(c maps.Changes) maps.Changes {
	switch nowhere := uint32(1 << 20); w.IntN(6) {
	case 0:
		c.Backends = inserted(w.Rand, c.Backends, maps.Change[uint32, maps.Backend]{Key: nowhere, Old: &maps.Backend{}, New: &maps.Backend{}})
	case 1, 5:
		c.Tables = inserted(w.Rand, c.Tables, maps.Change[uint32, maps.Table]{Key: 1, New: &maps.Table{}})
	case 2:
		c.Services = inserted(w.Rand, c.Services, maps.Change[uint32, maps.Service]{Key: nowhere, Old: &maps.Service{}, New: &maps.Service{}})
	case 3:
		c.Services = inserted(w.Rand, c.Services, maps.Change[uint32, maps.Service]{Key: nowhere, Old: &maps.Service{}})
	case 4:
		c.Backends = inserted(w.Rand, c.Backends, maps.Change[uint32, maps.Backend]{Key: nowhere, Old: &maps.Backend{Serves: true}})
	}
	return c
}

func inserted[E any](r *rand.Rand, list []E, e E) []E {
	return slices.Insert(slices.Clone(list), r.IntN(len(list)+1), e)
}

// beginWrite notes what may become of the flows by a write.
func (w *kernelWire) beginWrite(c maps.Changes) {
	w.writes++
	w.after = w.before.Clone()
	w.after.Make(c)
	for service := range w.services {
		id := max(w.number(service, w.before), w.number(service, w.after))
		for _, b := range c.Backends {
			switch {
			case b.New == nil && b.Old.Service == id && !b.Old.Serves:
				w.forget(service, b.Old.Address)
			case b.New != nil && b.New.Service == id && !b.New.Serves && (b.Old == nil || b.Old.Serves) && !w.down(service, b.New.Address):
				fatalf(w.t, "backend %s of service %d is not down and stops serving", b.New.Address, service)
			}
		}
		if w.loose(service) {
			w.forget(service, netip.AddrPort{})
		}
	}
}

// forget lets the flows of a backend, or of all, move.
func (w *kernelWire) forget(service int, backend netip.AddrPort) {
	for _, c := range w.callers {
		if c.service == service && (!backend.IsValid() || c.home == backend) {
			c.home = netip.AddrPort{}
		}
	}
}

func (w *kernelWire) endWrite(err error) error {
	if err != nil {
		w.say("the write fails: %v", err)
	}
	now, readErr := w.Read()
	if readErr != nil {
		fatalf(w.t, "%v", readErr)
	}
	w.before, w.after, w.failed = now, now, err != nil
	w.writes++
	return err
}

// loose: the service's flows may move, because none are recorded.
func (w *kernelWire) loose(service int) bool {
	for _, c := range []maps.Contents{w.before, w.after} {
		if s, ok := c.Services[w.number(service, c)]; ok && trackingOf(s) == tracksNever {
			return true
		}
	}
	return false
}

func (w *kernelWire) writing() bool { return w.writes%2 == 1 }

// halfway: some of a plan is written.
func (w *kernelWire) halfway() bool { return w.writing() || w.failed }

// homeServes: a backend whose entry is gone is one that could serve still, or
// beginWrite would have noted it.
func (w *kernelWire) homeServes(c *caller) bool {
	for _, in := range []maps.Contents{w.before, w.after} {
		id := w.number(c.service, in)
		for _, b := range in.Backends {
			if b.Service == id && b.Address == c.home && !b.Serves {
				return false
			}
		}
	}
	return true
}

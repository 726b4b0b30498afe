package control

import (
	"math"
	"slices"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// tier is what an election knows of one.
type tier struct {
	number uint8
	// usable and all are weights: of its usable backends, and of those that would
	// be usable if they were healthy.
	usable, all int
	// good: enough of it is usable. settled: that has lasted long enough.
	good, settled bool
}

// tiersOf returns the tiers of the wanted backends, the lowest first.
func (e *election) tiersOf(wanted func(*contender) bool) (numbers []uint8) {
	for i := range e.contenders {
		if c := &e.contenders[i]; wanted(c) && !slices.Contains(numbers, c.Tier) {
			numbers = append(numbers, c.Tier)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// chooseTiers takes the usable backends of the tiers that serve. That is the lowest
// one that is settled; failing that the lowest good one, as none can be waited
// for; failing that what is left of all. A tier that is low or not settled yet, and
// comes before that, is left out or serves along, as the service wants it.
func (e *election) chooseTiers() {
	tiers := e.tiers()
	last := slices.IndexFunc(tiers, func(t tier) bool { return t.settled })
	if last < 0 {
		last = slices.IndexFunc(tiers, func(t tier) bool { return t.good })
	}
	first := last
	if last < 0 {
		first, last = 0, len(tiers)-1
	} else if e.service.Placement.Tiers.WhenLow == model.LowAdd {
		first = 0
	}
	for i, t := range tiers {
		if i >= first && i <= last && t.usable > 0 {
			e.state.Serving = append(e.state.Serving, t.number)
		}
	}
	for i := range e.contenders {
		c := &e.contenders[i]
		if !c.usable() {
			continue
		}
		at := slices.IndexFunc(tiers, func(t tier) bool { return t.number == c.Tier })
		switch {
		case at >= first && at <= last:
			c.used = true
		case at > last:
			c.explain("stands by: tier %d serves", tiers[last].number)
		case tiers[at].good:
			c.explain("tier %d serves until tier %d was good for %s", tiers[last].number, c.Tier, model.DurationText(e.service.Placement.Tiers.ReturnAfter))
		default:
			c.explain("tier %d serves: only %d%% of tier %d is usable", tiers[last].number, 100*tiers[at].usable/tiers[at].all, c.Tier)
		}
	}
}

// tiers weighs the tiers and notes since when they are good.
func (e *election) tiers() []tier {
	numbers := e.tiersOf((*contender).counts)
	tiers := make([]tier, len(numbers))
	for i, n := range numbers {
		tiers[i].number = n
	}
	for i := range e.contenders {
		if c := &e.contenders[i]; c.counts() {
			t := &tiers[slices.Index(numbers, c.Tier)]
			t.all += int(c.Weight)
			if c.usable() {
				t.usable += int(c.Weight)
			}
		}
	}
	p := e.service.Placement
	// To fail over comes before panic.
	least := max(p.Tiers.MinHealthy, p.PanicThreshold)
	for i := range tiers {
		t := &tiers[i]
		t.good = t.usable > 0 && 100*t.usable >= least*t.all
		t.settled = t.good
	}
	if p.Tiers.ReturnAfter > 0 && len(tiers) > 1 {
		e.settle(tiers)
	}
	return tiers
}

// settle finds out which good tiers were good long enough.
func (e *election) settle(tiers []tier) {
	e.after.good = make(map[uint8]time.Duration, len(tiers))
	served := e.servedTier()
	for i := range tiers {
		t := &tiers[i]
		if !t.good {
			continue
		}
		since, known := e.before.good[t.number]
		switch {
		case known:
		case (e.before.good == nil || e.before.kept) && t.number >= served:
			since = always // by the daemon before, or by other settings
		default:
			since = e.Now
		}
		e.after.good[t.number] = since
		until := since + e.service.Placement.Tiers.ReturnAfter
		if t.settled = until <= e.Now; !t.settled {
			e.wake(until)
		}
	}
}

// servedTier is the lowest tier with slots in the table that is there; 0 if it has
// none, so that all count as having served.
func (e *election) servedTier() uint8 {
	if e.before.good != nil && !e.before.kept {
		return 0
	}
	inTable := map[uint32]bool{}
	for _, id := range e.Present.Tables[e.state.ID].Present {
		inTable[id] = true
	}
	lowest := uint8(math.MaxUint8)
	for _, c := range e.contenders {
		if inTable[c.ID] {
			lowest = min(lowest, c.Tier)
		}
	}
	if lowest == math.MaxUint8 {
		return 0
	}
	return lowest
}

package control

import (
	"math"
	"math/big"
	"net/netip"
	"time"
)

// slowSteps is how many steps a slow start has; each is a change of the table.
const slowSteps = 10

// shareUnit is the whole of a zone's share.
const shareUnit = 10000

// weigh sets the weights with which the used backends enter the table: their own,
// but for slow start, for shares of zones and for those that are half open.
func (e *election) weigh() {
	steps, slow := e.slowStart()
	for i := range e.contenders {
		if c := &e.contenders[i]; c.used {
			c.Effective = max(c.Weight, 1)
		}
	}
	if e.state.FailOpen || e.state.Panic {
		return // nobody knows who is well
	}
	shares, zoned := e.zoneShares()
	tried := e.any(func(c *contender) bool { return c.used && c.HalfOpen })
	if !slow && !zoned && !tried {
		return
	}
	exact := make([]*big.Int, len(e.contenders))
	for i := range e.contenders {
		c := &e.contenders[i]
		if !c.used {
			continue
		}
		w := big.NewInt(int64(c.Effective))
		if zoned {
			w.Mul(w, shares[c.Zone])
		}
		if slow {
			w.Mul(w, big.NewInt(int64(steps[i])))
			if steps[i] < slowSteps {
				c.explain("slow start: %d%% of its weight", 100*steps[i]/slowSteps)
			}
		}
		if tried {
			w.Mul(w, big.NewInt(e.trialShare(c)))
		}
		exact[i] = w
	}
	for i, w := range wholeWeights(exact) {
		c := &e.contenders[i]
		if c.used && w == 0 {
			c.explain("stands by: zone %s serves", e.Settings.Zone)
		}
		c.used, c.Effective = w > 0, w
	}
}

// trialShare is the part of its weight that a backend has beside one that is half
// open, in per cent.
func (e *election) trialShare(c *contender) int64 {
	if c.HalfOpen {
		return int64(e.service.Outcomes.Eject.TrialWeight)
	}
	return 100
}

// slowStart returns how many steps each backend has made, and whether anybody's
// share is smaller for it.
func (e *election) slowStart() (steps []int, slow bool) {
	length := e.service.Placement.SlowStart
	if length == 0 {
		return nil, false
	}
	steps = make([]int, len(e.contenders))
	e.after.up = make(map[netip.AddrPort]time.Duration, len(e.contenders))
	for i := range e.contenders {
		c := &e.contenders[i]
		if !c.usable() {
			continue
		}
		since := e.upSince(c)
		e.after.up[c.Address] = since
		steps[i] = slowSteps
		if done := int(slowSteps * min(e.Now-since, length) / length); done < slowSteps-1 {
			steps[i] = done + 1
			// Rounded up, so that the step has come when it wakes.
			e.wake(since + (length*time.Duration(done+1)+slowSteps-1)/slowSteps)
			slow = slow || c.used
		}
	}
	return steps, slow
}

// upSince is when a usable backend became so. Where no election has noted it, what
// served before did so always; so did all of a service that is new itself.
func (e *election) upSince(c *contender) time.Duration {
	if since, known := e.before.up[c.Address]; known {
		return since
	}
	if e.before.up != nil && !e.before.kept {
		return e.Now
	}
	of := e.present[e.state.ID]
	if number, there := of[c.Address]; len(of) == 0 || there && e.Present.Backends[number].Serves {
		return always
	}
	return e.Now
}

// zoneShares returns, by zone, what a backend's weight is multiplied with, and
// whether zones matter. With the balancer's own zone preferred it gets all as long
// as enough of it is usable, else less in proportion; the rest is that of the
// others. With equal shares zones get the same, but for those of which too little
// is usable.
func (e *election) zoneShares() (factors map[string]*big.Int, zoned bool) {
	z := e.service.Placement.Zones
	if !z.PreferOwn && !z.EqualShare {
		return nil, false
	}
	type zone struct{ used, all, share int64 }
	zones := map[string]*zone{}
	for i := range e.contenders {
		c := &e.contenders[i]
		if !c.used && !(c.counts() && e.serving(c.Tier)) {
			continue
		}
		of := zones[c.Zone]
		if of == nil {
			of = &zone{}
			zones[c.Zone] = of
		}
		of.all += int64(c.Weight)
		if c.used {
			of.used += int64(c.Weight)
		}
	}
	var others, sum int64 // weights, and shares, of the zones that are not preferred
	serving := 0
	for name, of := range zones {
		if of.used > 0 {
			serving++
			of.share = max(1, min(shareUnit, 100*shareUnit*of.used/(int64(z.MinHealthy)*of.all)))
		}
		if !z.PreferOwn || name != e.Settings.Zone {
			others += of.used
			sum += of.share
		}
	}
	rest := int64(shareUnit)
	if own := zones[e.Settings.Zone]; z.PreferOwn && own != nil {
		rest -= own.share
	}
	if serving < 2 {
		return nil, false // one zone serves, and has all
	}
	// A zone's factor is its share of the whole, over the weights in it.
	factors = map[string]*big.Int{}
	whole := big.NewInt(1)
	for _, of := range zones {
		whole = lcm(whole, of.used)
	}
	whole = lcm(whole, others)
	whole.Mul(whole, big.NewInt(max(sum, 1)))
	for name, of := range zones {
		factor := new(big.Int).Set(whole)
		switch {
		case of.used == 0:
			continue
		case z.PreferOwn && name == e.Settings.Zone:
			factor.Mul(factor, big.NewInt(of.share)).Quo(factor, big.NewInt(of.used))
		case z.EqualShare:
			factor.Quo(factor, big.NewInt(of.used)).Mul(factor, big.NewInt(rest*of.share)).Quo(factor, big.NewInt(sum))
		default:
			factor.Mul(factor, big.NewInt(rest)).Quo(factor, big.NewInt(others))
		}
		factors[name] = factor
	}
	return factors, true
}

func lcm(a *big.Int, b int64) *big.Int {
	if b == 0 {
		return a
	}
	n := big.NewInt(b)
	return new(big.Int).Mul(a, n.Quo(n, new(big.Int).GCD(nil, nil, a, n)))
}

// wholeWeights returns the smallest whole numbers in the same proportions, as
// nearly as 16 bits allow. What is not 0 stays so.
func wholeWeights(exact []*big.Int) []uint16 {
	divisor, largest := new(big.Int), new(big.Int)
	for _, w := range exact {
		if w == nil || w.Sign() == 0 {
			continue
		}
		divisor.GCD(nil, nil, divisor, w)
		if w.Cmp(largest) > 0 {
			largest.Set(w)
		}
	}
	out := make([]uint16, len(exact))
	if largest.Sign() == 0 {
		return out
	}
	largest.Quo(largest, divisor)
	limit := big.NewInt(math.MaxUint16)
	for i, w := range exact {
		if w == nil || w.Sign() == 0 {
			continue
		}
		n := new(big.Int).Quo(w, divisor)
		if largest.Cmp(limit) > 0 {
			n.Mul(n, limit).Quo(n, largest)
		}
		out[i] = max(1, uint16(n.Uint64()))
	}
	return out
}

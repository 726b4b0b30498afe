package control

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// turn is a change of a backend's phase.
type turn struct {
	address netip.AddrPort
	to      phase
	breaker breaker
}

// judge returns what becomes of the backends of a service, of which all that is
// known is seen now. replies says that the data plane sees what backends answer.
func (b breakers) judge(limits model.Eject, replies bool, now time.Time, seen []observation) (breakers, []turn) {
	next := make(breakers, len(seen))
	window := limits.Window
	if !replies {
		window += settles // of the last attempts nothing can be said yet
	}
	for _, o := range seen {
		next[o.address] = b[o.address].watch(window, now, o)
	}
	j := judgement{limits: limits, replies: replies, now: now, seen: seen, next: next}
	for _, o := range seen {
		j.total = j.total.plus(next[o.address].settled(replies))
	}
	for _, o := range seen {
		j.release(o)
	}
	j.keepCap()
	j.eject()
	slices.SortStableFunc(j.turns, func(a, b turn) int { return a.address.Compare(b.address) })
	return next, j.turns
}

// judgement is one step for the backends of a service.
type judgement struct {
	limits  model.Eject
	replies bool
	now     time.Time
	seen    []observation
	next    breakers
	total   count // of all of them
	turns   []turn
}

// failed are the failures among a backend's attempts. Where nobody sees replies, an
// attempt that was not finished may be a client's who went away, or of a flood: only
// what the other backends have not as well is the backend's.
func (j *judgement) failed(c count) uint64 {
	if j.replies {
		return c.failed()
	}
	others := j.total.minus(c)
	usual := 0.0
	if others.attempts > 0 {
		usual = float64(others.unfinished()) / float64(others.attempts)
	}
	excess := float64(c.unfinished()) - math.Ceil(usual*float64(c.attempts))
	return max(c.unanswered, uint64(max(excess, 0)))
}

// verdict says why a backend is over the limits, and by how much: 0 if it is not.
func (j *judgement) verdict(b breaker) (why string, share float64) {
	c := b.settled(j.replies)
	failed := j.failed(c)
	l := j.limits
	share = float64(failed) / float64(max(c.attempts, 1))
	figures := j.figures(c, failed)
	switch {
	case b.phase == halfOpen && failed > 0:
		return "failed its test: " + figures, 1 + share
	case l.Consecutive > 0 && b.streak >= uint64(l.Consecutive):
		return fmt.Sprintf("%d failed in a row: %s", b.streak, figures), 1 + share
	case c.attempts >= uint64(l.MinAttempts) && failed*100 >= c.attempts*uint64(l.Failures) && failed > 0:
		return fmt.Sprintf("%s (limit %d%%)", figures, l.Failures), share
	case l.Resets > 0 && c.answered >= uint64(l.MinAttempts) && c.reset*100 >= c.answered*uint64(l.Resets) && c.reset > 0:
		return fmt.Sprintf("it reset %d of %d connections in %s (limit %d%%)", c.reset, c.answered, b.span(), l.Resets), float64(c.reset) / float64(c.answered)
	}
	return "", 0
}

// figures are what a window came to, in words.
func (j *judgement) figures(c count, failed uint64) string {
	var kinds []string
	for _, k := range []struct {
		n    uint64
		name string
	}{{c.refused, "refused"}, {c.unanswered, "not answered"}} {
		if k.n > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", k.n, k.name))
		}
	}
	if rest := failed - min(failed, c.failed()); rest > 0 {
		kinds = append(kinds, fmt.Sprintf("%d not finished", rest))
	}
	return fmt.Sprintf("%d of %d connections failed, %s", failed, c.attempts, strings.Join(kinds, ", "))
}

// release lets a backend return whose time is over, or that passed its test.
func (j *judgement) release(o observation) {
	b := j.next[o.address]
	switch {
	case b.phase == ejected && !j.now.Before(b.until):
		j.enter(o.address, halfOpen, b.why)
	case b.phase == halfOpen && b.settled(j.replies).answered >= uint64(j.limits.Trials) && j.failed(b.settled(j.replies)) == 0:
		j.enter(o.address, trusted, "")
	}
}

// room is how many may be ejected at a time.
func (j *judgement) room() int {
	usable := 0
	for _, o := range j.seen {
		if o.usable {
			usable++
		}
	}
	return usable * j.limits.MaxEjected / 100
}

// out are the usable backends that are ejected.
func (j *judgement) out() (list []netip.AddrPort) {
	for _, o := range j.seen {
		if o.usable && j.next[o.address].phase == ejected {
			list = append(list, o.address)
		}
	}
	return list
}

// keepCap lets those return first whose time is over first, if so many others
// became unusable that too many are ejected.
func (j *judgement) keepCap() {
	out := j.out()
	slices.SortStableFunc(out, func(a, b netip.AddrPort) int { return j.next[a].until.Compare(j.next[b].until) })
	for _, address := range out[:max(0, len(out)-j.room())] {
		j.enter(address, halfOpen, j.next[address].why)
	}
}

// eject ejects those over the limits, the worst first, while there is room.
func (j *judgement) eject() {
	type accused struct {
		address netip.AddrPort
		why     string
		share   float64
	}
	var list []accused
	for _, o := range j.seen {
		b := j.next[o.address]
		if b.phase == ejected {
			continue
		}
		why, share := j.verdict(b)
		if b.phase == trusted {
			b.why = ""
		}
		j.next[o.address] = b
		if why != "" && o.usable {
			list = append(list, accused{o.address, why, share})
		}
	}
	slices.SortStableFunc(list, func(a, b accused) int {
		return cmp.Or(cmp.Compare(b.share, a.share), a.address.Compare(b.address))
	})
	room := j.room() - len(j.out())
	for _, a := range list {
		if room <= 0 {
			b := j.next[a.address]
			b.why = a.why
			if b.phase == halfOpen {
				b.samples = b.samples[len(b.samples)-1:] // it is tested anew
			}
			j.next[a.address] = b
			continue
		}
		room--
		j.enter(a.address, ejected, a.why)
	}
}

// enter begins a phase: what counts for it is what comes from now on.
func (j *judgement) enter(address netip.AddrPort, to phase, why string) {
	b := j.next[address]
	if to == ejected {
		if b.phase == trusted && j.now.Sub(b.since) >= j.limits.MaxTime {
			b.ejections = 0
		}
		b.ejections++
		b.until = j.now.Add(lasts(j.limits, b.ejections))
	}
	b.phase, b.since, b.why, b.streak = to, j.now, why, 0
	b.samples = b.samples[len(b.samples)-1:]
	j.next[address] = b
	j.turns = append(j.turns, turn{address, to, b})
}

// lasts is how long the n-th ejection in a row lasts.
func lasts(l model.Eject, n int) time.Duration {
	d := l.Time
	for ; n > 1 && d < l.MaxTime; n-- {
		d *= 2
	}
	return min(d, l.MaxTime)
}

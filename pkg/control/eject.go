package control

import (
	"net/netip"
	"slices"
	"time"

	"github.com/xlb-io/xlb/pkg/maps"
)

// A breaker takes a backend whose connections fail out of the table for a while.
// What follows is a pure function of what was seen, step by step; see judge.

// phase is where a backend stands.
type phase uint8

const (
	trusted phase = iota
	// ejected takes no new connections until breaker.until.
	ejected
	// halfOpen takes a few, to be tried.
	halfOpen
)

func (p phase) String() string { return [...]string{"trusted", "ejected", "half open"}[p] }

// settles is how long an attempt may go on before it counts as unfinished, where
// only the client's next packet tells that it was answered.
const settles = 2 * time.Second

// windowSamples is how finely a window is kept: its length varies by one part.
const windowSamples = 20

// observation is what is known of one backend at a moment.
type observation struct {
	address netip.AddrPort
	// id is its number; the counters are its own only as long as that lasts.
	id uint32
	// total are its counters, which only grow.
	total maps.Outcomes
	// usable: but for its failures it could take new connections.
	usable bool
}

// sample are the counters at a moment.
type sample struct {
	at time.Time
	maps.Outcomes
}

// breaker is what is remembered of one backend. Nothing of it is changed.
type breaker struct {
	id    uint32
	phase phase
	// since is when the phase began, until when an ejection ends.
	since, until time.Time
	// ejections so far, without one that was forgotten.
	ejections int
	// samples are in order of time; the first is the beginning of the window, or of
	// the phase if that is later or a test. The last is the present.
	samples []sample
	// streak are failures since the last success.
	streak uint64
	// why it is ejected, or why it would be if enough others were not.
	why string
}

// breakers are those of a service.
type breakers map[netip.AddrPort]breaker

// watch takes a backend's new counters. All that came since a test began counts for
// it, however seldom somebody comes.
func (b breaker) watch(window time.Duration, now time.Time, o observation) breaker {
	if b.id != o.id || b.grown(o.total) {
		b = breaker{id: o.id, since: now}
	}
	if n := len(b.samples); n > 0 {
		step := o.total.Minus(b.samples[n-1].Outcomes)
		b.streak += step.Refused + step.Unanswered
		if step.Answered > 0 {
			b.streak = 0
		}
	}
	begun := 0
	if b.phase == halfOpen {
		begun = min(1, len(b.samples))
	}
	b.samples = append(slices.Clone(b.samples[:begun]), slide(b.samples[begun:], sample{now, o.total}, window)...)
	return b
}

// grown says whether the counters began anew.
func (b breaker) grown(total maps.Outcomes) bool {
	return len(b.samples) > 0 && total.Attempts < b.samples[len(b.samples)-1].Attempts
}

// slide appends a sample and drops those before the window. Between the first and
// the last they are a part of the window apart, or as far as an attempt may go on.
func slide(samples []sample, s sample, window time.Duration) []sample {
	out := slices.Clone(samples)
	if n := len(out); n > 1 && s.at.Sub(out[n-2].at) < max(window/windowSamples, settles/4) {
		out = out[:n-1]
	}
	out = append(out, s)
	first := 0
	for first+1 < len(out) && s.at.Sub(out[first+1].at) >= window {
		first++
	}
	return out[first:]
}

// count is what a window came to.
type count struct{ attempts, answered, refused, unanswered, reset uint64 }

func (c count) plus(d count) count {
	return count{c.attempts + d.attempts, c.answered + d.answered, c.refused + d.refused, c.unanswered + d.unanswered, c.reset + d.reset}
}

func (c count) minus(d count) count {
	return count{c.attempts - d.attempts, c.answered - d.answered, c.refused - d.refused, c.unanswered - d.unanswered, c.reset - d.reset}
}

// settled is what became of the window's attempts, without those that may still go
// on if nobody sees replies.
func (b breaker) settled(replies bool) count {
	if len(b.samples) == 0 {
		return count{}
	}
	first, last := b.samples[0], b.samples[len(b.samples)-1]
	d := last.Minus(first.Outcomes)
	out := count{d.Attempts, d.Answered, d.Refused, d.Unanswered, d.Reset}
	if replies {
		out.attempts = max(out.attempts, out.failed())
		return out
	}
	until := first
	for _, s := range b.samples {
		if last.at.Sub(s.at) >= settles {
			until = s
		}
	}
	out.attempts = max(until.Attempts-first.Attempts, out.unanswered)
	out.answered = min(out.answered, out.attempts)
	return out
}

func (c count) failed() uint64 { return c.refused + c.unanswered }

// unfinished are attempts of which nothing more was heard.
func (c count) unfinished() uint64 { return c.attempts - c.answered }

// span is the time that a window covers.
func (b breaker) span() time.Duration {
	return b.samples[len(b.samples)-1].at.Sub(b.samples[0].at).Round(time.Second)
}

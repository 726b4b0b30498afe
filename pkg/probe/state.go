package probe

import (
	"errors"
	"net/netip"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// Status is what is known of one target.
type Status struct {
	model.BackendHealth
	// Passed is the outcome of the last check, and Streak how many checks in
	// a row had it; 0 before the first check and without checks.
	Passed bool
	Streak int
	// Latency is how long the last check took, up to its failure if it failed.
	Latency time.Duration
	// Smoothed is the latency of the checks that passed, each new one an eighth
	// of it (RFC 6298 §2.3); 0 before the first.
	Smoothed time.Duration
	// Failures is how many checks failed.
	Failures uint64
	// Checked is when the last check ended; zero before the first.
	Checked time.Time
	// Next is when the next check is due or, while one runs, was; zero without
	// checks.
	Next time.Time
	// To is where the check goes.
	To netip.AddrPort
	// Sharers is how many targets the check is for.
	Sharers int
}

// count keeps what is known of many checks.
func (s *Status) count(o outcome) {
	latency := o.end.Sub(o.start)
	s.Latency, s.Checked = latency, o.end
	switch {
	case o.err != nil:
		s.Failures++
	case s.Smoothed == 0:
		s.Smoothed = latency
	default:
		s.Smoothed += (latency - s.Smoothed) / 8
	}
}

// take notes the role that a check found. It holds at once, whatever rise and
// fall are: a replica that was promoted is the primary. A failed check that could
// not ask says nothing of it. Only of a change between two roles is it known when
// it was.
func (s *Status) take(role string, err error, now time.Time) {
	if role == s.Role || role == "" && err != nil {
		return
	}
	s.RoleSince = time.Time{}
	if s.Role != "" {
		s.RoleSince = now
	}
	s.Role = role
}

// observe counts the outcome of one check: err is nil or the reason of the
// failure. With decided, a change of state takes rise or fall outcomes in a
// row; without, this one decides. A failure of this host is noted and not
// counted. It tells what changed.
func (s *Status) observe(err error, decided bool, p model.Probe, now time.Time) (state, reason bool) {
	before := s.BackendHealth
	if errors.Is(err, errLocal) {
		s.Reason = err.Error()
		return false, s.Reason != before.Reason
	}
	passed := err == nil
	if s.Streak == 0 || s.Passed != passed {
		s.Passed, s.Streak = passed, 0
	}
	s.Streak++
	s.Reason = ""
	needed, next := p.Rise, model.Healthy
	if !passed {
		s.Reason = err.Error()
		needed, next = p.Fall, model.Unhealthy
	}
	if s.State != next && (!decided || s.Streak >= needed) {
		s.State, s.Since = next, now
	}
	return s.State != before.State, s.Reason != before.Reason
}

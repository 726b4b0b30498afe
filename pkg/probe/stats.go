package probe

import "time"

// Late are the upper bounds of the times by which checks start late; what is
// beyond the last has no bound.
var Late = []time.Duration{
	time.Millisecond, 4 * time.Millisecond, 16 * time.Millisecond, 64 * time.Millisecond, 256 * time.Millisecond, time.Second, 4 * time.Second,
}

// Stats are counters of a [Runner] since its start.
type Stats struct {
	// Targets are probed or not, Checks are those that are repeated now (targets
	// that ask the same share one), and Running how many run at this moment.
	Targets, Checks, Running int
	// Passed and Failed count checks, and Skipped those that failed for this
	// host's reasons, which say nothing of the backend.
	Passed, Failed, Skipped uint64
	// LateBy counts the starts of checks by how much later than due they were:
	// for each of [Late] those up to it, and the rest. LateSum is their sum.
	LateBy  [8]uint64
	LateSum time.Duration
}

// started counts a check that was due so long ago.
func (s *Stats) started(late time.Duration) {
	i := 0
	for i < len(Late) && late > Late[i] {
		i++
	}
	s.LateBy[i]++
	s.LateSum += late
}

// Stats returns the counters.
func (r *Runner) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Targets = len(r.entries)
	for _, list := range r.jobs {
		s.Checks += len(list)
	}
	return s
}

package probe

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// job is a check that is repeated. Targets that ask for the same share it.
type job struct {
	way   way
	probe model.Probe
	check checker
	// sharers are whom the outcome concerns.
	sharers map[Key]*entry
	status  Status
	decided bool // a check of this probe has set the state
	// again is how many checks failed since the state became unhealthy, in a row.
	again  int
	due    time.Time
	place  int                // in the queue
	cancel context.CancelFunc // of the running check; nil while none runs
	gone   bool               // nobody asks any more
}

// way is where checks go. Only those of one way, and with equal probes, are the same.
type way struct {
	to netip.AddrPort
	Via
	// of is set if the check sees more of the target than where it goes.
	of Key
}

// entry is a target with what was last said of it.
type entry struct {
	target Target
	job    *job // nil if there is nothing to check
	health model.BackendHealth
}

// status is what is known of the target: until its job has decided, the state is
// the one that it had.
func (e *entry) status() Status {
	s := Status{}
	if e.job != nil {
		s = e.job.status
		s.Next, s.To, s.Sharers = e.job.due, e.job.way.to, len(e.job.sharers)
	}
	s.BackendHealth = e.health
	return s
}

// plan sets when the next check of j is due, after one that began at start.
func (j *job) plan(start time.Time) {
	pause := j.probe.Pause(j.status.Passed, j.status.State == model.Unhealthy, j.again)
	j.due = start.Add(jittered(pause, j.probe.Jitter))
}

// jittered is d, longer or shorter by up to some per cent.
func jittered(d time.Duration, percent int) time.Duration {
	most := d * time.Duration(percent) / 100
	return d - most + rand.N(2*most+1)
}

// count takes an outcome, which is not of a cancelled check. It tells whether
// there is anything to say.
func (j *job) count(o outcome) (news bool) {
	before := j.status.BackendHealth
	j.status.observe(o.err, j.decided, j.probe, o.end)
	if !errors.Is(o.err, errLocal) {
		wasDown := before.State == model.Unhealthy
		j.status.count(o)
		j.status.take(o.role, o.err, o.end)
		j.decided = true
		if o.err != nil && wasDown {
			j.again++
		} else {
			j.again = 0
		}
	}
	return j.status.BackendHealth != before
}

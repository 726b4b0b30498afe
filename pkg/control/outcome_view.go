package control

import (
	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// serviceOutcomes is what became of a service's connections, nil if nobody counts.
func (c *controller) serviceOutcomes(s ServiceState) (*api.Outcomes, error) {
	if !s.Counts {
		return nil, nil
	}
	o, err := c.data.ServiceOutcomes(s.ID)
	if err != nil {
		return nil, err
	}
	out := outcomesOf(o)
	return &out, nil
}

// backendOutcomes is what became of connections to a backend of a service.
func (c *controller) backendOutcomes(s ServiceState, id uint32) (*api.Outcomes, error) {
	if !s.Counts {
		return nil, nil
	}
	o, err := c.data.BackendOutcomes(id)
	if err != nil {
		return nil, err
	}
	out := outcomesOf(o)
	out.HandshakeSeconds = c.data.BackendLoad(id).Latency.Seconds()
	return &out, nil
}

// failingOf puts what a service makes of failures into the words of the API.
func failingOf(o model.Outcomes) *api.Failing {
	if o.Retries == 0 && !o.Eject.On {
		return nil
	}
	out := &api.Failing{SynRetry: o.Retries}
	if e := o.Eject; e.On {
		out.Eject = &api.Eject{
			Failures: e.Failures, MinAttempts: e.MinAttempts, WindowSeconds: e.Window.Seconds(), Consecutive: e.Consecutive, Resets: e.Resets,
			TimeSeconds: e.Time.Seconds(), MaxTimeSeconds: e.MaxTime.Seconds(), MaxEjected: e.MaxEjected, Trials: e.Trials, TrialWeight: e.TrialWeight,
		}
	}
	return out
}

func outcomesOf(o maps.Outcomes) api.Outcomes {
	return api.Outcomes{
		Attempts: o.Attempts, Answered: o.Answered, Unanswered: o.Unanswered, Refused: o.Refused, Reset: o.Reset, Retried: o.Retried,
	}
}

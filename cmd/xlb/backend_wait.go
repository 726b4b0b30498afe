package main

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
)

const (
	waitTimeout = 10 * time.Minute
	// waitMargin is how much longer than to its deadline a drain is waited for, if
	// nothing is said.
	waitMargin = time.Minute
	// waitPause is the least time between two looks. Looking for flows goes through
	// the flow table: of a full one the pause is waitShare times as long as the look.
	waitPause = 250 * time.Millisecond
	waitShare = 4
)

// waitFlags are those of a command that can wait for the end of what it begins.
func waitFlags(end string) []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "wait", Usage: "return when " + end},
		&cli.DurationFlag{Name: "timeout", Usage: "with --wait: fail after a `TIME`", Value: waitTimeout},
	}
}

// waitLimit is how long a command may wait, 0 if it shall not.
func waitLimit(c *cli.Context) (time.Duration, error) {
	limit := c.Duration("timeout")
	switch {
	case !c.Bool("wait") && c.IsSet("timeout"):
		return 0, usagef("--timeout goes with --wait only")
	case limit <= 0:
		return 0, usagef("--timeout %s is in the past", limit)
	case !c.Bool("wait"):
		return 0, nil
	}
	return limit, nil
}

// await is a wait for something of one backend.
type await struct {
	client  *api.Client
	service string
	backend netip.AddrPort
	limit   time.Duration
}

// until looks until there is nothing left to wait for, which look says in words. It
// outlives restarts of the daemon.
func (a *await) until(ctx context.Context, look func(context.Context, api.BackendDetail) (left string, err error)) error {
	limited, cancel := context.WithTimeout(ctx, a.limit)
	defer cancel()
	left := ""
	for {
		began := time.Now()
		b, err := a.client.Backend(limited, a.service, a.backend)
		if err == nil {
			var now string
			now, err = look(limited, b)
			if now == "" && err == nil {
				return nil
			}
			if err == nil {
				left = now
			}
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case limited.Err() != nil:
			return failf("%s %s: not within %s: %s", a.service, a.backend, humanDuration(a.limit), left)
		case isGone(err):
			return err
		case err != nil:
			left = err.Error()
		}
		select {
		case <-limited.Done():
		case <-time.After(max(waitPause, waitShare*time.Since(began))):
		}
	}
}

// isGone says whether waiting is in vain: there is no such backend any more, or it
// became something else than what is waited for.
func isGone(err error) bool {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e.Status == 404
	}
	_, ok := errors.AsType[*vain](err)
	return ok
}

// vain is a wait that cannot end well.
type vain struct{ error }

// drained waits until a backend that drains has no flows, and says why it has none.
func (a *await) drained(ctx context.Context) (said string, err error) {
	err = a.until(ctx, func(ctx context.Context, b api.BackendDetail) (string, error) {
		switch {
		case !b.Serves:
			said = drainedText(b.Reason)
			return "", nil
		case b.State != api.StateDraining && b.State != api.StateUnhealthy:
			return "", &vain{failf("%s %s: it is %s, and drains no longer", a.service, a.backend, b.State)}
		case b.EffectiveWeight > 0:
			return "it is used though it drains, for no other backend is usable (fail: open)", nil
		}
		left, err := a.flows(ctx)
		if left > 0 || err != nil {
			return plural(left, "flow") + " left", err
		}
		said = "drained: its last flow has ended"
		return "", nil
	})
	return said, err
}

// drainedText says why a backend that drained has no flows any more.
func drainedText(reason string) string {
	return "drained: " + strings.TrimPrefix(reason, "drained by the operator; ")
}

// flows counts those that have not ended. A closed one is remembered for a while.
func (a *await) flows(ctx context.Context) (n int, err error) {
	for f, err := range a.client.Flows(ctx, api.FlowFilter{Service: a.service, Backend: a.backend.String()}) {
		if err != nil {
			return n, err
		}
		if f.State != "closed" {
			n++
		}
	}
	return n, nil
}

// passed waits until a check of the backend has passed that began after a time: what
// earlier ones found may be about a server that has been replaced since.
func (a *await) passed(ctx context.Context, after time.Time) error {
	return a.until(ctx, func(_ context.Context, b api.BackendDetail) (string, error) {
		p := b.Probe
		switch {
		case b.State == api.StateDisabled:
			return "", &vain{failf("%s %s is disabled (see \"xlb backend enable\")", a.service, a.backend)}
		case p.Type == "none":
			return "", nil
		case p.Checked == nil || p.Checked.Add(-time.Duration(p.LatencySeconds*float64(time.Second))).Before(after):
			return "it is not probed again yet; it was not undrained", nil
		case p.Result != "passed" || b.State == api.StateUnhealthy || b.State == api.StateUnknown:
			return "its probe does not pass: " + b.Reason + "; it was not undrained", nil
		}
		return "", nil
	})
}

// takesFlows waits until new flows go to the backend.
func (a *await) takesFlows(ctx context.Context) error {
	return a.until(ctx, func(_ context.Context, b api.BackendDetail) (string, error) {
		if b.State == api.StateHealthy && b.EffectiveWeight > 0 {
			return "", nil
		}
		return "it is " + b.State + " and takes no new flows: " + b.Reason, nil
	})
}

// waitDrained waits for the end of a drain that has begun.
func (e *env) waitDrained(ctx context.Context, a *await, isSet bool) (said string, err error) {
	b, err := a.client.Backend(ctx, a.service, a.backend)
	if err != nil {
		return "", err
	}
	if b.DrainsUntil != nil && !isSet {
		a.limit = max(a.limit, b.DrainsUntil.Sub(e.now())+waitMargin)
	}
	s, err := a.client.Service(ctx, a.service)
	if err != nil {
		return "", err
	}
	if s.Track != "always" {
		return a.pastDeadline(ctx, s.Track, b)
	}
	return a.drained(ctx)
}

// pastDeadline is drained for a service of which not every flow is recorded: only
// its deadline tells when the last one is gone.
func (a *await) pastDeadline(ctx context.Context, track string, b api.BackendDetail) (said string, err error) {
	if b.DrainsUntil == nil {
		return "", failf("%s does not record every flow (track: %s), so nobody knows when the last one ends; the backend drains (give a --deadline, or set track: always)", a.service, track)
	}
	err = a.until(ctx, func(_ context.Context, b api.BackendDetail) (string, error) {
		if b.Serves {
			return "its deadline is still to come", nil
		}
		said = drainedText(b.Reason)
		return "", nil
	})
	return said, err
}

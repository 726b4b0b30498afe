package main

import (
	"context"
	"net/netip"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
)

// backendDrain is a verb with a time of its own.
func (e *env) backendDrain() *cli.Command {
	c := e.backendVerb("drain", "take a backend out of service gently",
		"The backend gets no new flows; those it has stay until they end (watch them with\n"+
			"\"xlb backend ls\"), or until the deadline: then they move to others. Without one the\n"+
			"service's drain_timeout holds. Take it back with \"xlb backend undrain\".\n\n"+
			"With --wait it returns when the last flow has ended or the deadline has passed, and fails if\n"+
			"that takes longer than the timeout, which is at least a minute more than the deadline if you\n"+
			"say none. The backend stays drained in any case.", nil)
	c.UsageText += "\nxlb backend drain --deadline 5m web 10.0.0.11:8080\nxlb backend drain --deadline 5m --wait web 10.0.0.11:8080"
	c.Flags = append(append([]cli.Flag{
		&cli.DurationFlag{Name: "deadline", Usage: "move the flows that are left after a `TIME`, 0 for never"},
	}, waitFlags("it has no flows any more")...), c.Flags...)
	c.Action = func(c *cli.Context) error {
		if after := c.Duration("deadline"); after < 0 {
			return usagef("--deadline %s is in the past", after)
		} else if after > api.MaxDrain {
			return usagef("--deadline %s is more than a year (0 for never)", after)
		}
		limit, err := waitLimit(c)
		if err != nil {
			return err
		}
		return e.steer(c, func(ctx context.Context, client *api.Client, service string, b netip.AddrPort) (string, error) {
			said, err := drain(ctx, c, client, service, b)
			if err != nil || limit == 0 {
				return said, err
			}
			if !c.Bool("json") {
				e.printf("%s %s: %s\n", service, b, said)
			}
			return e.waitDrained(ctx, &await{client, service, b, limit}, c.IsSet("timeout"))
		})
	}
	return c
}

func drain(ctx context.Context, c *cli.Context, client *api.Client, service string, b netip.AddrPort) (said string, err error) {
	said = "draining: no new flows, old ones stay"
	after := c.Duration("deadline")
	switch {
	case !c.IsSet("deadline"):
		if err := client.Drain(ctx, service, b); err != nil {
			return "", err
		}
		if s, err := client.Service(ctx, service); err == nil && s.Placement.DrainTimeoutSeconds > 0 {
			said += " for " + seconds(s.Placement.DrainTimeoutSeconds)
		}
		return said, nil
	case after == 0:
		return said + " until they end", client.DrainFor(ctx, service, b, 0)
	}
	return said + " for " + humanDuration(after), client.DrainFor(ctx, service, b, after)
}

func (e *env) backendUndrain() *cli.Command {
	c := e.backendVerb("undrain", "let a backend take new flows again",
		"Ends a drain, whether the operator or the configuration file said so.\n\n"+
			"With --wait the backend must prove itself first: the drain ends when a probe has passed that\n"+
			"began after this command, so that a server that was replaced and does not work gets nothing.\n"+
			"It returns when the backend takes new flows, and fails if that takes longer than the timeout.", nil)
	c.UsageText += "\nxlb backend undrain --wait --timeout 1m web 10.0.0.11:8080"
	c.Flags = append(waitFlags("it is healthy and takes new flows"), c.Flags...)
	c.Action = func(c *cli.Context) error {
		limit, err := waitLimit(c)
		if err != nil {
			return err
		}
		return e.steer(c, func(ctx context.Context, client *api.Client, service string, b netip.AddrPort) (string, error) {
			const said = "takes new flows again"
			if limit == 0 {
				if err := client.Undrain(ctx, service, b); err != nil {
					return "", err
				}
				if is, err := client.Backend(ctx, service, b); err == nil && is.EffectiveWeight == 0 && is.Reason != "" {
					return "drained no longer, but " + is.State + ": " + is.Reason, nil
				}
				return said, nil
			}
			a := &await{client, service, b, limit}
			began := e.now()
			if err := a.passed(ctx, began); err != nil {
				return "", err
			}
			if err := client.Undrain(ctx, service, b); err != nil {
				return "", err
			}
			a.limit = max(limit-e.now().Sub(began), waitPause)
			return said, a.takesFlows(ctx)
		})
	}
	return c
}

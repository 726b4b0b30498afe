package control

import (
	"cmp"
	"context"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

// Policies implements [api.Daemon].
func (c *controller) Policies() []api.Policy {
	cfg := c.published.Load().cfg
	out := []api.Policy{}
	for name, p := range c.policies() {
		b := p.Bundle()
		out = append(out, api.Policy{
			Name: name, Path: b.Path, Version: b.Manifest.Version, Description: b.Manifest.Description,
			HookNames: b.Hooks, OnError: p.Spec().OnError.String(), Uses: usesOf(cfg, name), Stats: p.Stats(),
		})
	}
	slices.SortFunc(out, func(a, b api.Policy) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func usesOf(cfg *model.Config, name string) []api.PolicyUse {
	out := []api.PolicyUse{}
	for _, s := range cfg.Services {
		for _, use := range s.Policies {
			if use.Policy == name {
				out = append(out, api.PolicyUse{Service: s.Name, As: "policy", Mode: use.Mode.String()})
			}
		}
		if s.Probe.Type == model.ProbePolicy && s.Probe.Policy == name {
			out = append(out, api.PolicyUse{Service: s.Name, As: "probe"})
		}
	}
	return out
}

// ReloadPolicy implements [api.Daemon].
func (c *controller) ReloadPolicy(ctx context.Context, name string) error {
	if _, err := c.findPolicy(name); err != nil {
		return err
	}
	c.reloading.Lock()
	defer c.reloading.Unlock()
	return c.reload(ctx, map[string]bool{name: true})
}

// SetTable implements [api.Daemon].
func (c *controller) SetTable(name, table string, entries []policy.TableEntry) error {
	p, err := c.findPolicy(name)
	if err != nil {
		return err
	}
	if err := p.SetTable(table, entries); err != nil {
		return api.Errorf(422, "%v", err)
	}
	return nil
}

func (c *controller) findPolicy(name string) (loadedPolicy, error) {
	p, ok := c.policies()[name]
	if !ok {
		return p, api.Errorf(404, "no policy %q (`xlb policy ls` shows them)", name)
	}
	return p, nil
}

// monotonic is the clock of [maps.Upcall.At].
func monotonic() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

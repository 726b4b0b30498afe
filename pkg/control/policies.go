package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

// policyCache is where compiled modules are kept, under the state directory.
func policyCache(stateDir string) string { return filepath.Join(stateDir, "policies") }

// loadedPolicy is a policy with what the configuration says of it.
type loadedPolicy struct {
	*policy.Policy
	asked model.Policy
}

// policySet is the policies of a configuration, by name. Nothing of it is changed;
// another configuration has another one.
type policySet map[string]loadedPolicy

// Deciding returns the services of a configuration that ask policies about new
// flows, by what the bundles on disk say of themselves. Nothing is run.
func Deciding(cfg *model.Config) (map[string]bool, error) {
	flow := map[string]bool{}
	for _, spec := range cfg.Policies {
		b, err := policy.Open(spec.Path)
		if err != nil {
			return nil, fmt.Errorf("policy %q: %w", spec.Name, err)
		}
		flow[spec.Name] = b.Has(policy.HookFlow)
	}
	out := map[string]bool{}
	for _, s := range cfg.Services {
		if slices.ContainsFunc(s.Policies, func(u model.PolicyUse) bool { return flow[u.Policy] }) {
			out[s.Name] = true
		}
	}
	return out, nil
}

// CheckPolicies loads the policies of a configuration as a daemon would, and lets
// them go again.
func CheckPolicies(ctx context.Context, cfg *model.Config, log *slog.Logger) error {
	if len(cfg.Policies) == 0 {
		return nil
	}
	runtime, err := policy.NewRuntime(ctx, policy.Options{Log: log})
	if err != nil {
		return fmt.Errorf("prepare to run policies: %w", err)
	}
	change, err := loadPolicies(ctx, runtime, cfg, nil, nil)
	if err == nil {
		err = change.abandon(ctx)
	}
	return errors.Join(err, runtime.Close(ctx))
}

// policyChange is the way from one set to the next.
type policyChange struct {
	before, next policySet
	// fresh are those that were loaded for it.
	fresh []*policy.Policy
}

// loadPolicies loads what a configuration names and the set before does not have,
// or is told to have anew. Nothing that runs is touched. Each mistake is an error.
func loadPolicies(ctx context.Context, runtime *policy.Runtime, cfg *model.Config, before policySet, anew map[string]bool) (*policyChange, error) {
	c := &policyChange{before: before, next: policySet{}}
	var errs []error
	for _, spec := range cfg.Policies {
		if err := c.load(ctx, runtime, spec, anew[spec.Name]); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		errs = c.next.check(cfg)
	}
	if len(errs) > 0 {
		return nil, errors.Join(append(errs, c.abandon(ctx))...)
	}
	return c, nil
}

// load adds one policy to the next set: the running one if it can stay.
func (c *policyChange) load(ctx context.Context, runtime *policy.Runtime, spec model.Policy, anew bool) error {
	bundle, err := policy.Open(spec.Path)
	if err != nil {
		return fmt.Errorf("policy %q: %w", spec.Name, err)
	}
	old, running := c.before[spec.Name]
	stays := running && !anew && sameBundle(old.Bundle(), bundle) && sameButConfig(old.asked, spec)
	if stays && bytes.Equal(old.asked.Config, spec.Config) {
		c.next[spec.Name] = old
		return nil
	}
	fresh, err := runtime.LoadBundle(ctx, bundle, spec)
	if err != nil {
		return err
	}
	c.fresh = append(c.fresh, fresh)
	c.next[spec.Name] = loadedPolicy{fresh, spec}
	if stays {
		// It was loaded to see whether it takes the new configuration. The running
		// one is to keep its state.
		c.next[spec.Name] = loadedPolicy{old.Policy, spec}
	}
	return nil
}

func sameBundle(a, b *policy.Bundle) bool {
	return a.SHA256 == b.SHA256 && reflect.DeepEqual(a.Manifest, b.Manifest)
}

func sameButConfig(a, b model.Policy) bool {
	a.Config, b.Config = nil, nil
	return reflect.DeepEqual(a, b)
}

// check finds policies that cannot do what services want of them.
func (set policySet) check(cfg *model.Config) (errs []error) {
	for _, s := range cfg.Services {
		for _, use := range s.Policies {
			if b := set[use.Policy].Bundle(); !b.Has(policy.HookFlow) && !b.Has(policy.HookWeigh) {
				errs = append(errs, fmt.Errorf("service %q: policy %q answers neither flow nor weigh, but %v (use it where its hook is asked)", s.Name, use.Policy, b.Hooks))
			}
		}
		if s.Probe.Type != model.ProbePolicy {
			continue
		}
		if b := set[s.Probe.Policy].Bundle(); !b.Has(policy.HookProbe) {
			errs = append(errs, fmt.Errorf("service %q: policy %q cannot probe, it answers %v (name one with a probe hook)", s.Name, s.Probe.Policy, b.Hooks))
		}
	}
	return errs
}

// abandon frees what was loaded.
func (c *policyChange) abandon(ctx context.Context) error {
	var errs []error
	for _, p := range c.fresh {
		errs = append(errs, p.Close(ctx))
	}
	return errors.Join(errs...)
}

// commit makes the change: policies that stay get their configuration and read
// their tables again, those that come inherit from those that they replace. It
// returns what is to be closed once no chain has it any more.
func (c *policyChange) commit(ctx context.Context, log *slog.Logger) (leaving []*policy.Policy) {
	for name, p := range c.next {
		old, was := c.before[name]
		switch {
		case !was:
		case old.Policy != p.Policy:
			p.Inherit(old.Policy)
		default:
			stay(ctx, old, p.asked.Config, log)
		}
	}
	for _, p := range c.fresh {
		if c.next[p.Name()].Policy != p {
			leaving = append(leaving, p)
		}
	}
	for name, p := range c.before {
		if c.next[name].Policy != p.Policy {
			leaving = append(leaving, p.Policy)
		}
	}
	return leaving
}

// stay brings a running policy up to date. What it refuses it took in the trial, or
// is of a file that changed since; it goes on with what it had.
func stay(ctx context.Context, p loadedPolicy, config []byte, log *slog.Logger) {
	if !bytes.Equal(p.asked.Config, config) {
		if err := p.Configure(ctx, config); err != nil {
			log.Error("a policy keeps its old configuration", "error", err)
		}
	}
	if err := p.ReloadTables(); err != nil {
		log.Error("a policy keeps its old tables", "error", err)
	}
}

// links are the places in a service's chain of the policies that answer a hook.
func (set policySet) links(s model.Service, hook policy.Hook) []policy.Link {
	var out []policy.Link
	for _, use := range s.Policies {
		if p, ok := set[use.Policy]; ok && p.Bundle().Has(hook) {
			out = append(out, policy.Link{Policy: p.Policy, Mode: use.Mode})
		}
	}
	return out
}

// deciding are the services that ask policies about new flows.
func (set policySet) deciding(services []model.Service) map[string]bool {
	out := map[string]bool{}
	for _, s := range services {
		if len(set.links(s, policy.HookFlow)) > 0 {
			out[s.Name] = true
		}
	}
	return out
}

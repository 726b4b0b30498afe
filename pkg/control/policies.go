package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	gomaps "maps"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

// policyCache is where compiled modules are kept, under the state directory.
func policyCache(stateDir string) string { return filepath.Join(stateDir, "policies") }

// policySet is the policies of a configuration, loaded, by name. Nothing of it is
// changed; another configuration has another one.
type policySet map[string]*policy.Policy

// policyChange is the way from one set to the next.
type policyChange struct {
	next policySet
	// fresh are those that were loaded for it; they are closed if it is given up.
	fresh []*policy.Policy
	// configure are policies that stay and get another configuration.
	configure map[string]model.Policy
}

// loadPolicies loads what a configuration names and the set before does not have.
// Nothing that runs is touched. Each mistake is an error.
func loadPolicies(ctx context.Context, runtime *policy.Runtime, cfg *model.Config, before policySet) (*policyChange, error) {
	c := &policyChange{next: policySet{}, configure: map[string]model.Policy{}}
	var errs []error
	for _, spec := range cfg.Policies {
		p, err := c.load(ctx, runtime, spec, before[spec.Name])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.next[spec.Name] = p
	}
	if len(errs) == 0 {
		errs = c.next.check(cfg)
	}
	if len(errs) > 0 {
		return nil, errors.Join(append(errs, c.abandon(ctx))...)
	}
	return c, nil
}

func (c *policyChange) load(ctx context.Context, runtime *policy.Runtime, spec model.Policy, old *policy.Policy) (*policy.Policy, error) {
	bundle, err := policy.Open(spec.Path)
	if err != nil {
		return nil, fmt.Errorf("policy %q: %w", spec.Name, err)
	}
	if old != nil && old.Bundle().SHA256 == bundle.SHA256 && sameManifest(old.Bundle(), bundle) && sameSpec(old, spec) {
		return old, nil
	}
	fresh, err := runtime.LoadBundle(ctx, bundle, spec)
	if err != nil {
		return nil, err
	}
	c.fresh = append(c.fresh, fresh)
	if old != nil && old.Bundle().SHA256 == bundle.SHA256 && sameManifest(old.Bundle(), bundle) && sameButConfig(old.Asked(), spec) {
		// It was loaded to see that it takes the new configuration. The running one
		// keeps its state.
		c.configure[spec.Name] = spec
		return old, nil
	}
	return fresh, nil
}

func sameManifest(a, b *policy.Bundle) bool { return reflect.DeepEqual(a.Manifest, b.Manifest) }

func sameSpec(old *policy.Policy, spec model.Policy) bool {
	return reflect.DeepEqual(old.Asked(), spec)
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
				errs = append(errs, fmt.Errorf("service %q: policy %q answers neither flow nor weigh (it has %v)", s.Name, use.Policy, b.Hooks))
			}
		}
		if s.Probe.Type == model.ProbePolicy && !set[s.Probe.Policy].Bundle().Has(policy.HookProbe) {
			errs = append(errs, fmt.Errorf("service %q: policy %q cannot probe (it answers %v)", s.Name, s.Probe.Policy, set[s.Probe.Policy].Bundle().Hooks))
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

// commit makes the change: policies that stay are configured, those that come
// inherit from those that they replace. It returns what is to be closed once no
// chain has it any more.
func (c *policyChange) commit(ctx context.Context, before policySet, log *slog.Logger) (leaving []*policy.Policy) {
	for name, spec := range c.configure {
		if err := before[name].Configure(ctx, spec.Config); err != nil {
			log.Error("a policy refused the configuration that it took in the trial; it goes on with the old one", "policy", name, "error", err)
		}
	}
	for name, p := range c.next {
		if old := before[name]; old != nil && old != p {
			p.Inherit(old)
		}
	}
	for _, p := range slices.Concat(slices.Collect(gomaps.Values(before)), c.fresh) {
		if c.next[p.Name()] != p {
			leaving = append(leaving, p)
		}
	}
	return leaving
}

// links are the places of a service's chain whose policies answer a hook.
func (set policySet) links(s model.Service, hook policy.Hook) []policy.Link {
	var out []policy.Link
	for _, use := range s.Policies {
		if p := set[use.Policy]; p != nil && p.Bundle().Has(hook) {
			out = append(out, policy.Link{Policy: p, Mode: use.Mode})
		}
	}
	return out
}

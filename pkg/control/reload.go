package control

import (
	"context"
	"errors"
	"fmt"
	gomaps "maps"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/config"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// Reload implements [api.Daemon]: it reads the configuration file and returns
// once the maps hold it. Everything is tried before anything changes: a file
// that is wrong, a setting that needs a restart and a plan that does not fit
// leave the old configuration in force.
func (c *controller) Reload(ctx context.Context) error {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	return c.reload(ctx, nil)
}

// reload is Reload; the policies named anew are loaded even if nothing of them
// changed.
func (c *controller) reload(ctx context.Context, anew map[string]bool) error {
	var cfg *model.Config
	var policies *policyChange
	text, err := config.Read(c.configPath)
	if err == nil {
		cfg, policies, err = c.try(ctx, text, anew)
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		refused := unprocessable(err)
		c.log.Error("configuration refused, the old one stays in force", "file", c.configPath, "error", err)
		if e := c.ask(ctx, func() {
			c.lastReload = api.Reload{At: time.Now(), Error: refused.Error()}
			c.publish()
		}); e != nil {
			return e
		}
		return refused
	}
	c.text = text
	err = c.submit(ctx, func() error {
		c.lastReload = api.Reload{At: time.Now(), OK: true}
		c.adopt(cfg)
		c.adoptPolicies(policies)
		return nil
	})
	if err == nil {
		c.log.Info("configuration reloaded", "file", c.configPath, "services", len(cfg.Services))
		return nil
	}
	if _, refused := errors.AsType[*api.Error](err); refused || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("the configuration is valid, but the maps do not hold it yet (the daemon keeps trying): %w", err)
}

// try refuses a configuration that cannot become the running one.
// It returns what it says and the way to its policies.
func (c *controller) try(ctx context.Context, text []byte, anew map[string]bool) (*model.Config, *policyChange, error) {
	said := c.operator.said()
	cfg, policies, err := c.configSource(c.configPath, text, said).load(ctx, c.runtime, c.policies(), anew)
	if err != nil {
		return nil, nil, err
	}
	t, err := c.rehearse(ctx, cfg, policies.next, said)
	if err == nil && len(t.restart) > 0 {
		err = fmt.Errorf("%s: %s can be changed only by a restart of the daemon (traffic goes on meanwhile)", c.configPath, strings.Join(t.restart, ", "))
	}
	if err != nil {
		return nil, nil, errors.Join(err, policies.abandon(ctx))
	}
	return cfg, policies, nil
}

// Plan implements [api.Daemon].
func (c *controller) Plan(ctx context.Context, req api.PlanRequest) (api.Plan, error) {
	name := req.Path
	if name == "" {
		name = c.configPath
	}
	text := []byte(req.Content)
	if req.Content == "" {
		var err error
		name = c.configPath
		if text, err = config.Read(name); err != nil {
			return api.Plan{}, unprocessable(err)
		}
	}
	said := c.operator.said()
	cfg, policies, err := c.configSource(name, text, said).load(ctx, c.runtime, c.policies(), nil)
	if err != nil {
		return api.Plan{}, unprocessable(err)
	}
	r, err := c.rehearse(ctx, cfg, policies.next, said)
	if err = errors.Join(err, policies.abandon(ctx)); err != nil {
		return api.Plan{}, unprocessable(err)
	}
	out := api.Plan{Changes: []api.PlanChange{}, Restart: r.restart, Warnings: []string{}}
	if out.Restart == nil {
		out.Restart = []string{}
	}
	out.Warnings = append(out.Warnings, LeftOut(cfg)...)
	for _, text := range c.discovery.Unanswered(cfg.Services) {
		out.Warnings = append(out.Warnings, text+"; the plan is without its backends")
	}
	if r.plan != nil {
		out.Warnings = append(out.Warnings, r.plan.Warnings...)
		out.Changes = Describe(r.changes, r.words())
		out.Weights = r.plan.weights()
	}
	return out, nil
}

// weights are the backends of whose weight policies said something.
func (p *Plan) weights() (out []api.PlanWeight) {
	for _, s := range p.Services {
		for _, b := range s.Backends {
			if b.Answer.equal(Answer{}) {
				continue
			}
			out = append(out, api.PlanWeight{
				Service: s.Name, Backend: b.Address, Weight: int(b.Weight), Tier: int(b.Tier), Effective: int(b.Effective),
				Ejected: b.Answer.Eject, Reason: b.Answer.Reason, Shadow: b.Answer.Shadow,
			})
		}
	}
	return out
}

// rehearsal is what a configuration would lead to.
type rehearsal struct {
	plan    *Plan
	now     *Plan // nil before the first round
	changes maps.Changes
	restart []string
	names   map[uint32]string
}

// words are those of the plan, with what is known of the one in force.
func (r *rehearsal) words() Words {
	w := r.plan.Words()
	for id, name := range r.names {
		if w.Services[id] == "" {
			w.Services[id] = name
		}
	}
	if r.now != nil {
		w.Before = r.now.states()
	}
	return w
}

// rehearse plans for cfg and what the operator says, without writing anything. The
// work is done beside the reconciler.
func (c *controller) rehearse(ctx context.Context, cfg *model.Config, policies policySet, said Operator) (*rehearsal, error) {
	var in Input
	var planner *Planner
	out := &rehearsal{}
	err := c.ask(ctx, func() {
		planner = c.planner.Clone()
		discovered := c.discovery.Preview(cfg.Services)
		in = c.input(cfg, discovered, c.sourcesFor(cfg, discovered, autoSources{}))
		in.Added, in.Overrides, in.DisabledZones = said.Backends, said.Overrides, said.Zones
		in.Deciding, in.Answers = policies.deciding(cfg.Services), gomaps.Clone(c.answers)
		in.Breakers = gomaps.Clone(c.breakers)
		in.Health, in.Present = gomaps.Clone(c.health), c.current.Clone()
		in.Idle, in.IdleSources = gomaps.Clone(c.idle), gomaps.Clone(c.idleSource)
		out.now, out.names = c.plan, c.names
		out.restart = config.StartOnlyChanges(c.cfg.Settings, cfg.Settings)
	})
	if err != nil {
		return nil, err
	}
	if out.plan, err = planner.Plan(in); err != nil {
		if len(out.restart) > 0 {
			return out, nil // the restart that is needed changes what fits
		}
		return nil, fmt.Errorf("%s: %w", c.configPath, err)
	}
	out.changes = maps.Diff(in.Present, out.plan.Contents)
	return out, nil
}

// unprocessable gives an error of a configuration its HTTP status.
func unprocessable(err error) error {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	return api.Errorf(422, "%v", err)
}

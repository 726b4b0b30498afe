package control

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
	"github.com/xlb-io/xlb/pkg/probe"
)

var errNoPolicy = errors.New("the policy is gone")

// policies are those in force. Any goroutine may ask.
func (c *controller) policies() policySet { return *c.inForce.Load() }

// adoptPolicies makes the policies of a change those in force. Decisions that begin
// afterwards are theirs.
func (c *controller) adoptPolicies(change *policyChange) {
	ctx := context.Background() // each call has the policy's own timeout
	leaving := change.commit(ctx, c.log)
	c.inForce.Store(&change.next)
	chains := map[string]*policy.Chain{}
	for _, s := range c.cfg.Services {
		links := change.next.links(s, policy.HookFlow)
		if chain := c.chains[s.Name]; chain != nil {
			chain.Replace(links...)
			chains[s.Name] = chain
		} else if len(links) > 0 {
			chains[s.Name] = policy.NewChain(links...)
		}
		if len(change.next.links(s, policy.HookWeigh)) == 0 {
			delete(c.answers, s.Name)
			delete(c.said, s.Name)
		}
	}
	for name, chain := range c.chains {
		if chains[name] == nil {
			chain.Replace()
		}
	}
	c.chains, c.deciding, c.dirty = chains, change.next.deciding(c.cfg.Services), true
	c.weighAll()
	c.helpers.Go(func() { c.closePolicies(leaving) })
}

func (c *controller) closePolicies(list []*policy.Policy) {
	for _, p := range list {
		if err := p.Close(context.Background()); err != nil {
			c.log.Error("cannot free a policy", "policy", p.Name(), "error", err)
		}
	}
}

// askProbe lets a policy probe; it is the prober's.
func (c *controller) askProbe(ctx context.Context, name string, conn net.Conn) (probe.PolicyAnswer, error) {
	p, ok := c.policies()[name]
	if !ok {
		return probe.PolicyAnswer{}, errNoPolicy
	}
	r, err := p.Probe(ctx, conn)
	return probe.PolicyAnswer{Healthy: r.Healthy, Role: r.Role, Reason: r.Reason}, err
}

// decides says whether any service of a plan asks policies about new flows.
func (p *Plan) decides() bool {
	return slices.ContainsFunc(p.Services, func(s ServiceState) bool { return s.Decides })
}

// routeDecisions lets what the data plane will ask under a plan be answered.
func (c *controller) routeDecisions(plan *Plan) {
	if !plan.decides() {
		return
	}
	if c.upcalls == nil {
		if err := c.startDecisions(); err != nil {
			c.problems[reasonDecisions] = err
			c.log.Error("policies cannot be asked about new flows, which follow on_overload; trying again", "error", err)
			return
		}
		delete(c.problems, reasonDecisions)
	}
	c.publishSites(plan)
}

// endDecisionsUnless ends the answering when the last question was asked.
func (c *controller) endDecisionsUnless(plan *Plan) {
	if !plan.decides() {
		delete(c.problems, reasonDecisions)
		c.endDecisions()
	}
}

func (c *controller) startDecisions() error {
	inject, err := c.newInjector()
	if err != nil {
		return err
	}
	read, err := c.newReader()
	if err != nil {
		inject.Close()
		return err
	}
	c.upcalls = startUpcalls(c.data, read, inject, monotonic, &c.upcallCounts, c.log)
	return nil
}

func (c *controller) endDecisions() {
	if c.upcalls == nil {
		return
	}
	if err := c.upcalls.close(); err != nil {
		c.log.Error("cannot end the answering of new flows", "error", err)
	}
	c.upcalls = nil
}

// publishSites tells those who decide which backends take new flows.
func (c *controller) publishSites(plan *Plan) {
	overload := map[string]model.OnOverload{}
	for _, s := range c.cfg.Services {
		overload[s.Name] = s.OnOverload
	}
	sites := map[uint32]*site{}
	for i := range plan.Services {
		if s := &plan.Services[i]; s.Decides && c.chains[s.Name] != nil {
			sites[s.ID] = siteOf(s, c.chains[s.Name], overload[s.Name])
		}
	}
	c.upcalls.sites.Store(&sites)
}

// policyProblems are reasons of the status.
func (c *controller) policyProblems() []string {
	var out []string
	for name, p := range c.policies() {
		for _, h := range p.Stats().Hooks {
			if h.Ejected && time.Now().Before(h.EjectedUntil) {
				out = append(out, "policy_failing:"+name)
				break
			}
		}
	}
	return out
}

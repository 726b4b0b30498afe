package control

import (
	"fmt"
	"slices"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
)

// judged is a service whose breakers are to judge.
type judged struct {
	service string
	seen    []observation
}

// watchOutcomes reads, beside the reconciler, what became of connections, of the
// services that eject; then they are judged.
func (c *controller) watchOutcomes() {
	if c.judging || c.plan == nil {
		return
	}
	list := c.toJudge()
	if len(list) == 0 {
		c.breakers = map[string]breakers{}
		return
	}
	c.judging = true
	c.helpers.Go(func() {
		err := c.observe(list)
		c.post(func() {
			c.judging = false
			if err != nil {
				c.log.Error("cannot read what became of connections; trying again", "error", err)
				return
			}
			c.judge(list)
		})
	})
}

// toJudge are the services that eject, with their backends' numbers in force.
func (c *controller) toJudge() (list []judged) {
	for i := range c.plan.Services {
		s := &c.plan.Services[i]
		if !s.ejects {
			continue
		}
		one := judged{service: s.Name}
		for _, b := range s.Backends {
			if b.State != api.StateRetired {
				one.seen = append(one.seen, observation{address: b.Address, id: b.ID, usable: b.contends})
			}
		}
		list = append(list, one)
	}
	return list
}

func (c *controller) observe(list []judged) error {
	for _, one := range list {
		for i := range one.seen {
			total, err := c.data.BackendOutcomes(one.seen[i].id)
			if err != nil {
				return err
			}
			one.seen[i].total = total
		}
	}
	return nil
}

// judge lets the breakers of services judge what was seen. Those of a service that
// no longer ejects are forgotten.
func (c *controller) judge(list []judged) {
	now := c.now()
	all := make(map[string]breakers, len(list))
	for _, one := range list {
		i := slices.IndexFunc(c.cfg.Services, func(s model.Service) bool { return s.Name == one.service })
		if i < 0 || !c.cfg.Services[i].Outcomes.Eject.On {
			continue
		}
		s := &c.cfg.Services[i]
		before := c.breakers[s.Name]
		next, turns := before.judge(s.Outcomes.Eject, s.Forward.RewritesPorts(), now, one.seen)
		all[s.Name] = next
		for _, t := range turns {
			c.turned(s.Name, t)
		}
		if len(turns) > 0 || !before.sameWords(next) {
			c.touch(s.Name)
			c.weighSoon(s.Name)
		}
	}
	c.breakers = all
}

// turned logs and counts a change of a backend's phase.
func (c *controller) turned(service string, t turn) {
	to := []any{"service", service, "backend", t.address}
	switch t.to {
	case ejected:
		c.ejections[service]++
		c.log.Warn("a backend is ejected, for its connections fail", append(to, "why", t.breaker.why, "ejection", t.breaker.ejections, "until", t.breaker.until.Format(time.RFC3339))...)
	case halfOpen:
		c.log.Info("an ejected backend takes a few connections, to be tried", to...)
	case trusted:
		c.log.Info("a backend that was ejected is trusted again", to...)
	}
}

// sameWords says whether nothing would be shown differently but figures.
func (b breakers) sameWords(c breakers) bool {
	for address, one := range c {
		if (b[address].why == "") != (one.why == "") {
			return false
		}
	}
	return true
}

// contend applies a service's breakers to what is known of a backend: an ejected one
// takes no new flows.
func (b breaker) contend(limits model.Eject, out *BackendState) {
	out.contends = takesFlows(*out)
	if !out.contends {
		return
	}
	out.Ejections, out.EjectedUntil = b.ejections, time.Time{}
	if b.ejections > 0 && b.since.After(out.Since) {
		out.Since = b.since
	}
	switch {
	case b.phase == ejected:
		out.State, out.EjectedUntil = api.StateEjected, b.until
		out.Reason = fmt.Sprintf("%s; ejection %d, half open at %s", b.why, b.ejections, b.until.Format(time.TimeOnly))
	case b.phase == halfOpen:
		out.HalfOpen = true
		out.Reason = fmt.Sprintf("half open after ejection %d: %d connections must succeed", b.ejections, limits.Trials)
	case b.why != "" && out.Reason == "":
		out.Reason = fmt.Sprintf("over its limits, but max_ejected of %d%% lets no more be ejected: %s", limits.MaxEjected, b.why)
	}
}

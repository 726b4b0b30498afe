package control

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/config"
	"github.com/xlb-io/xlb/pkg/maps"
)

// Plan implements [api.Daemon].
func (c *controller) Plan(ctx context.Context, req api.PlanRequest) (api.Plan, error) {
	name := req.Path
	if name == "" {
		name = c.configPath
	}
	cfg, err := config.Parse(name, []byte(req.Content))
	if req.Content == "" {
		name = c.configPath
		cfg, err = config.Load(name)
	}
	if err != nil {
		return api.Plan{}, unprocessable(err)
	}
	r, err := c.rehearse(ctx, cfg)
	if err != nil {
		return api.Plan{}, unprocessable(err)
	}
	out := api.Plan{Changes: []api.PlanChange{}, Restart: r.restart, Warnings: []string{}}
	if out.Restart == nil {
		out.Restart = []string{}
	}
	if r.plan != nil {
		out.Warnings = append(out.Warnings, r.plan.Warnings...)
		out.Changes = append(out.Changes, newDescriber(r).all(r.changes)...)
	}
	return out, nil
}

// describer puts changes into words, with names for numbers.
type describer struct {
	names  map[uint32]string
	states map[uint32]BackendState // of the plan
	before map[uint32]BackendState // of the plan in force
}

func newDescriber(r *rehearsal) *describer {
	d := &describer{names: map[uint32]string{}, states: map[uint32]BackendState{}, before: map[uint32]BackendState{}}
	for id, name := range r.names {
		d.names[id] = name
	}
	for _, s := range r.plan.Services {
		d.names[s.ID] = s.Name
	}
	note := func(p *Plan, to map[uint32]BackendState) {
		if p == nil {
			return
		}
		for _, list := range [][]ServiceState{p.Services, p.Retired} {
			for _, s := range list {
				for _, b := range s.Backends {
					to[b.ID] = b
				}
			}
		}
	}
	note(r.plan, d.states)
	note(r.now, d.before)
	return d
}

func (d *describer) all(c maps.Changes) (out []api.PlanChange) {
	for _, s := range c.Sources {
		out = append(out, describe(s, "source", "", s.Key, func(a netip.Addr) string { return a.String() }))
		last := &out[len(out)-1]
		last.Key = cmp.Or(last.New, last.Old)
	}
	for _, s := range c.Services {
		out = append(out, describe(s, "service", d.service(s.Key), s.Key, func(v maps.Service) string {
			text := "forward " + v.Forward.String()
			if v.Sources > 0 {
				text += fmt.Sprintf(", sources %d to %d", v.FirstSource, v.FirstSource+v.Sources-1)
			}
			return text + fmt.Sprintf(", timeouts syn %s, established %s, fin %s, closed %s, udp %s", v.Timeouts.TCPSyn,
				v.Timeouts.TCPEstablished, v.Timeouts.TCPFin, v.Timeouts.TCPClosed, v.Timeouts.UDP)
		}))
	}
	for _, v := range c.VIPs {
		if v.Key.Protocol == 0 {
			continue // follows from the source
		}
		var service uint32
		for _, side := range []*maps.VIP{v.New, v.Old} {
			if side != nil && service == 0 {
				service = side.Service
			}
		}
		one := describe(v, "frontend", d.service(service), service, func(v maps.VIP) string {
			if v.Source != 0 {
				return fmt.Sprintf("service %s, also a source", d.service(v.Service))
			}
			return "service " + d.service(v.Service)
		})
		one.Key = v.Key.String()
		out = append(out, one)
	}
	return append(append(out, d.backends(c)...), d.tables(c)...)
}

func (d *describer) backends(c maps.Changes) (out []api.PlanChange) {
	for _, b := range c.Backends {
		side := b.New
		if side == nil {
			side = b.Old
		}
		one := describe(b, "backend", d.service(side.Service), b.Key, func(v maps.Backend) string {
			states := d.states
			if b.Old != nil && v == *b.Old {
				states = d.before
			}
			text := states[b.Key].State
			if text == "" {
				text = "in use"
			}
			if !v.Serves {
				text += ", its flows move to others"
			}
			return text
		})
		one.Key = side.Address.String()
		out = append(out, one)
	}
	return out
}

func (d *describer) tables(c maps.Changes) (out []api.PlanChange) {
	for _, t := range c.Tables {
		one := describe(t, "table", d.service(t.Key), t.Key, func(v maps.Table) string {
			used := map[uint32]bool{}
			for _, id := range v {
				if id != 0 {
					used[id] = true
				}
			}
			return fmt.Sprintf("%d backends in %d slots", len(used), len(v))
		})
		switch {
		case t.Old == nil:
			one.Slots = len(*t.New)
			one.Moved = one.Slots
		case t.New == nil:
			one.Slots = len(*t.Old)
			one.Moved = one.Slots
		default:
			one.Slots = len(*t.New)
			for i, id := range *t.New {
				if i >= len(*t.Old) || (*t.Old)[i] != id {
					one.Moved++
				}
			}
		}
		out = append(out, one)
	}
	return out
}

func (d *describer) service(id uint32) string {
	if name := d.names[id]; name != "" {
		return name
	}
	return fmt.Sprintf("#%d", id)
}

// describe fills all but the key of what has no name of its own.
func describe[K comparable, V any](c maps.Change[K, V], kind, service string, id uint32, text func(V) string) api.PlanChange {
	out := api.PlanChange{Action: "change", Kind: kind, Service: service, Key: service, ID: id}
	if c.Old != nil {
		out.Old = text(*c.Old)
	} else {
		out.Action = "add"
	}
	if c.New != nil {
		out.New = text(*c.New)
	} else {
		out.Action = "delete"
	}
	return out
}

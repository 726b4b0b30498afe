package control

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// Words say what the maps hold only as numbers. The zero value knows nothing:
// services go by number, and of backends only whether they serve is told.
type Words struct {
	// Services are names by number.
	Services map[uint32]string
	// Subsets are those that have a table, by its number.
	Subsets map[uint32]maps.Subset
	// Before and After are the states of backends by number, as in
	// [api.Backend], before and after the changes.
	Before, After map[uint32]string
}

// Words are what the plan knows to describe a change that leads to it.
func (p *Plan) Words() Words {
	w := Words{Services: map[uint32]string{}, Subsets: p.Contents.Subsets, After: p.states()}
	for _, s := range p.Services {
		w.Services[s.ID] = s.Name
	}
	return w
}

// states are those of the backends by number.
func (p *Plan) states() map[uint32]string {
	out := map[uint32]string{}
	for _, list := range [][]ServiceState{p.Services, p.Retired} {
		for _, s := range list {
			for _, b := range s.Backends {
				out[b.ID] = b.State
			}
		}
	}
	return out
}

// Describe puts changes into words: sources, tunnels, features, services,
// frontends, backends, server IDs of QUIC, tables and rules, in this order, each sorted by its key in the
// maps. What a source or a dnat backend means to the frontends is left out where
// the source or the backend itself is told.
func Describe(c maps.Changes, w Words) []api.PlanChange {
	out := make([]api.PlanChange, 0, c.Len())
	told := map[netip.Addr]bool{}
	for _, s := range c.Sources {
		one := describe(s, "source", s.Key, netip.Addr.String)
		one.Key = either(s).String()
		for _, side := range []*netip.Addr{s.Old, s.New} {
			if side != nil {
				told[*side] = true
			}
		}
		out = append(out, one)
	}
	for _, t := range c.Tunnels {
		one := describe(t, "tunnel", t.Key, tunnelText)
		one.Key = []string{"ipv4", "ipv6"}[min(t.Key, 1)]
		out = append(out, one)
	}
	for _, f := range c.Features {
		one := describe(f, "feature", f.Key, func(maps.Features) string { return "replies of dnat backends are looked for" })
		one.Key = "dnat"
		out = append(out, one)
	}
	listens := map[netip.AddrPort]bool{}
	for _, b := range c.Backends {
		for _, side := range []*maps.Backend{b.Old, b.New} {
			if side != nil {
				listens[side.Address] = true
			}
		}
	}
	for _, s := range c.Services {
		one := describe(s, "service", s.Key, serviceText)
		one.Service, one.Key = w.service(s.Key), w.service(s.Key)
		out = append(out, one)
	}
	for _, v := range c.VIPs {
		implied := v.Key.Protocol == 0 && told[v.Key.Address] ||
			onlyDNAT(v) && listens[netip.AddrPortFrom(v.Key.Address, v.Key.Port)]
		if !implied {
			out = append(out, w.vip(v))
		}
	}
	for _, b := range c.Backends {
		out = append(out, w.backend(b))
	}
	for _, q := range c.QUICServers {
		one := describe(q, "quic", q.Key.Service, func(backend uint32) string { return fmt.Sprintf("backend number %d", backend) })
		one.Service, one.Key = w.service(q.Key.Service), q.Key.ID
		out = append(out, one)
	}
	subsets := subsetsOf(c, w)
	for _, t := range c.Tables {
		one := describe(t, "table", t.Key, tableText)
		one.Service, one.Key = w.table(t.Key, subsets)
		one.Moved, one.Slots = movedSlots(t)
		out = append(out, one)
	}
	for _, r := range c.Rules {
		one := describe(r, "rules", r.Key, rulesText)
		if r.Old != nil && r.New != nil {
			one.New += rulesChanged(*r.Old, *r.New)
		}
		one.Service, one.Key = w.service(r.Key), w.service(r.Key)
		out = append(out, one)
	}
	return out
}

// describe fills what every kind has.
func describe[K comparable, V any](c maps.Change[K, V], kind string, id uint32, text func(V) string) api.PlanChange {
	out := api.PlanChange{Action: "change", Kind: kind, ID: id}
	if c.New != nil {
		out.New = text(*c.New)
	} else {
		out.Action = "delete"
	}
	if c.Old != nil {
		out.Old = text(*c.Old)
	} else {
		out.Action = "add"
	}
	return out
}

// either is the new value or, if there is none, the old one.
func either[K comparable, V any](c maps.Change[K, V]) V {
	if c.New != nil {
		return *c.New
	}
	return *c.Old
}

func (w Words) service(id uint32) string {
	if name := w.Services[id]; name != "" {
		return name
	}
	return fmt.Sprintf("#%d", id)
}

// onlyDNAT says whether the place was and is nothing but a dnat backend's.
func onlyDNAT(v maps.Change[maps.VIPKey, maps.VIP]) bool {
	only := maps.VIP{DNATBackend: true}
	return (v.Old == nil || *v.Old == only) && (v.New == nil || *v.New == only)
}

func (w Words) vip(v maps.Change[maps.VIPKey, maps.VIP]) api.PlanChange {
	kind := "frontend"
	switch {
	case v.Key.Protocol == 0:
		kind = "source"
	case onlyDNAT(v):
		kind = "dnat"
	}
	id := either(v).Service
	if id == 0 && v.Old != nil {
		id = v.Old.Service
	}
	one := describe(v, kind, id, func(v maps.VIP) string {
		var parts []string
		if v.Service != 0 {
			parts = append(parts, "service "+w.service(v.Service))
		}
		if v.Source != 0 {
			parts = append(parts, fmt.Sprintf("source number %d", v.Source-1))
		}
		if v.DNATBackend {
			parts = append(parts, "a dnat backend replies from here")
		}
		return strings.Join(parts, ", ")
	})
	if id != 0 {
		one.Service = w.service(id)
	}
	one.Key = v.Key.String()
	return one
}

func (w Words) backend(b maps.Change[uint32, maps.Backend]) api.PlanChange {
	// The number may have passed from one backend to another.
	passed := b.Old != nil && b.New != nil && (b.Old.Address != b.New.Address || b.Old.Service != b.New.Service)
	text := func(states map[uint32]string) func(maps.Backend) string {
		return func(v maps.Backend) string {
			out := stateText(states[b.Key], v.Serves)
			if passed {
				out += fmt.Sprintf(" as %s of %s", v.Address, w.service(v.Service))
			}
			if v.Weight > 0 {
				out += fmt.Sprintf(", connections compared by weight %d", v.Weight)
			}
			return out
		}
	}
	one := describe(b, "backend", b.Key, text(w.After))
	if b.Old != nil {
		one.Old = text(w.Before)(*b.Old)
	}
	one.Service, one.Key = w.service(either(b).Service), either(b).Address.String()
	return one
}

func stateText(state string, serves bool) string {
	switch {
	case state == "" && serves:
		return "serves"
	case state == "":
		return "does not serve"
	case state == api.StateUnknown:
		state = "not probed yet"
	}
	if !serves {
		state += ", its flows move to others"
	}
	return state
}

func serviceText(s maps.Service) string {
	text := "forward " + s.Forward.String()
	if !s.Forward.RewritesPorts() {
		text += ", track " + s.Track.String()
	}
	text += selectionText(s.Selection)
	switch {
	case s.Sources == 1:
		text += fmt.Sprintf(", source number %d", s.FirstSource)
	case s.Sources > 1:
		text += fmt.Sprintf(", source numbers %d to %d", s.FirstSource, s.FirstSource+s.Sources-1)
	}
	if s.Policy != 0 {
		text += fmt.Sprintf(", policies asked about %d new flows a second and %d of a source, on overload %s", s.Upcalls, s.UpcallsPerSource, s.Policy)
	}
	if s.Ruled {
		text += ", sources by rules"
	}
	if limits := limitsText(s.Limits); limits != "" {
		text += ", " + limits
	}
	t := s.Timeouts
	return text + fmt.Sprintf(", timeouts syn %s, established %s, fin %s, closed %s, udp %s",
		model.DurationText(t.TCPSyn), model.DurationText(t.TCPEstablished), model.DurationText(t.TCPFin), model.DurationText(t.TCPClosed), model.DurationText(t.UDP))
}

func tunnelText(t maps.Tunnel) string {
	text := "from " + t.String()
	if t.EntropyBits > 0 {
		text += fmt.Sprintf(", %d bits by flow", t.EntropyBits)
	}
	return text + fmt.Sprintf(", gue to port %d", t.GUEPort)
}

func tableText(t maps.Table) string {
	used := map[uint32]bool{}
	for _, id := range t.Present {
		if id != 0 {
			used[id] = true
		}
	}
	thing := "backends"
	if len(used) == 1 {
		thing = "backend"
	}
	text := fmt.Sprintf("%d %s in %d slots", len(used), thing, len(t.Present))
	if len(t.Marked) > 0 {
		text += fmt.Sprintf(", %d marked", len(t.Marked))
	}
	return text
}

// movedSlots are all of them for a table that comes or goes.
func movedSlots(t maps.Change[uint32, maps.Table]) (moved, of int) {
	of = len(either(t).Present)
	if t.Old == nil || t.New == nil {
		return of, of
	}
	for i, id := range t.New.Present {
		if i >= len(t.Old.Present) || t.Old.Present[i] != id {
			moved++
		}
	}
	return moved, of
}

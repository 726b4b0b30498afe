package control

import (
	"cmp"
	gomaps "maps"
	"slices"
	"strings"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/discovery"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// Overrides implements [api.Daemon].
func (c *controller) Overrides() []api.Override {
	s, said := c.published.Load(), c.operator.said()
	out := []api.Override{}
	for _, z := range sortedZones(said.Zones) {
		known := slices.ContainsFunc(s.zones(z.Service), func(one api.Zone) bool { return one.Zone == z.Zone })
		out = append(out, api.Override{Service: z.Service, Zone: z.Zone, Known: known})
	}
	for _, name := range slices.Sorted(gomaps.Keys(said.Services)) {
		problem := s.cfg.LeftOut[name]
		out = append(out, api.Override{Service: name, Added: true, Text: said.Services[name], Known: problem == "", Problem: problem})
	}
	byBackend := map[probe.Key]api.Override{}
	for key, o := range said.Overrides {
		byBackend[key] = api.Override{Service: o.Service, Backend: o.Backend, Drain: o.Drain, Deadline: o.Deadline, Weight: o.Weight, Disabled: o.Disabled}
	}
	for service, list := range said.Backends {
		for _, b := range list {
			key := probe.Key{Service: service, Backend: b.Address}
			o := byBackend[key]
			o.Service, o.Backend, o.Added, o.As = service, b.Address, true, addedAs(b)
			o.Problem = s.whyNot(service, b)
			byBackend[key] = o
		}
	}
	for key, o := range byBackend {
		state, err := s.find(o.Service)
		o.Known = err == nil && slices.ContainsFunc(state.Backends, func(b BackendState) bool {
			return b.Address == o.Backend && b.State != api.StateRetired
		})
		byBackend[key] = o
	}
	return append(out, slices.SortedFunc(gomaps.Values(byBackend), func(a, b api.Override) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), a.Backend.Compare(b.Backend))
	})...)
}

// addedAs is what an operator asked for.
func addedAs(b model.Backend) *api.BackendRequest {
	weight := int(b.Weight)
	return &api.BackendRequest{Weight: &weight, Zone: b.Zone, Tags: b.Tags.List(), Priority: int(b.Priority), ServerID: b.ServerID}
}

// whyNot says why a backend that the operator added is not there on that account.
func (s *snapshot) whyNot(service string, b model.Backend) string {
	i := slices.IndexFunc(s.cfg.Services, func(one model.Service) bool { return one.Name == service })
	if i < 0 {
		return "there is no such service"
	}
	if why := discovery.Unusable(s.cfg.Services, s.cfg.Services[i], b); why != "" {
		return why
	}
	if state, err := s.find(service); err == nil && slices.ContainsFunc(state.Backends, func(one BackendState) bool {
		return one.Address == b.Address && one.State != api.StateRetired && !one.Added
	}) {
		return "the configuration or a source has it, too, and counts"
	}
	return ""
}

// Zones implements [api.Daemon].
func (c *controller) Zones(service string) ([]api.Zone, error) {
	s := c.published.Load()
	if service != "" {
		if _, err := s.find(service); err != nil {
			return nil, err
		}
	}
	zones, said := s.zones(service), c.operator.said().Zones
	for i := range zones {
		z := &zones[i]
		z.Disabled = said[model.DisabledZone{Zone: z.Zone, Service: z.Service}] || said[model.DisabledZone{Zone: z.Zone}]
		z.Own = z.Zone == s.cfg.Settings.Zone
	}
	return zones, nil
}

// zones are those of a service, or of all if it has no name, sorted by zone and
// service.
func (s *snapshot) zones(service string) []api.Zone {
	out := []api.Zone{}
	if s.plan == nil {
		return out
	}
	for _, one := range s.plan.Services {
		if service != "" && one.Name != service {
			continue
		}
		slots := 0
		byZone := map[string]*api.Zone{}
		for _, b := range one.Backends {
			slots += b.Slots
			if b.Zone == "" || b.State == api.StateRetired {
				continue
			}
			z := byZone[b.Zone]
			if z == nil {
				z = &api.Zone{Zone: b.Zone, Service: one.Name}
				byZone[b.Zone] = z
			}
			z.Backends++
			if takesFlows(b) {
				z.Usable++
			}
			z.Flows += s.counts[b.ID]
			z.Share += float64(b.Slots)
		}
		for _, z := range byZone {
			if slots > 0 {
				z.Share /= float64(slots)
			}
			out = append(out, *z)
		}
	}
	slices.SortFunc(out, func(a, b api.Zone) int {
		return cmp.Or(strings.Compare(a.Zone, b.Zone), strings.Compare(a.Service, b.Service))
	})
	return out
}

package control

import (
	"fmt"
	"slices"

	"github.com/xlb-io/xlb/pkg/discovery"
	"github.com/xlb-io/xlb/pkg/model"
)

// withAdded returns backends with those that the operator added to a service. One
// that is there already counts as it is there; one that does not go with the service
// any more is left out.
func (in *Input) withAdded(s model.Service, backends []model.Backend) []model.Backend {
	added := in.Added[s.Name]
	if len(added) == 0 {
		return backends
	}
	all := slices.Clone(backends)
	for _, b := range added {
		if !has(backends, b) && discovery.Unusable(in.Services, s, b) == "" {
			all = append(all, b)
		}
	}
	return all
}

// has says whether a backend of the same address is in the list.
func has(list []model.Backend, b model.Backend) bool {
	return slices.ContainsFunc(list, func(one model.Backend) bool { return one.Address == b.Address })
}

// foundOf returns what discovery found, or the static backends.
func (in *Input) foundOf(s model.Service) []model.Backend {
	if found, ok := in.Discovered[s.Name]; ok {
		return found
	}
	return s.Backends
}

// noteAdded marks the backends that are there because the operator added them, and
// warns of those that are not.
func (r *round) noteAdded(s model.Service, state *ServiceState) {
	found := r.foundOf(s)
	for _, b := range r.Added[s.Name] {
		if has(found, b) {
			continue
		}
		if why := discovery.Unusable(r.Services, s, b); why != "" {
			state.warnings = append(state.warnings, fmt.Sprintf("service %q: backend %s, which the operator added, is left out: %s", s.Name, b.Address, why))
			continue
		}
		for i := range state.Backends {
			if state.Backends[i].Address == b.Address {
				state.Backends[i].Added = true
			}
		}
	}
}

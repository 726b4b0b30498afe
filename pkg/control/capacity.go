package control

import (
	"fmt"
	"math"
	"net/netip"

	"github.com/xlb-io/xlb/pkg/model"
)

// spare is how many backends that discovery found still get a place. Those of
// the configuration have theirs for sure: what others publish must not make a
// plan fail.
type spare struct{ backends, dnat int }

// spareOf counts what the maps have left when every backend of the
// configuration has its place.
func (r *round) spareOf(numbers map[string]uint32) spare {
	s := spare{r.Sizes.Backends - 1 - len(r.used), r.Sizes.Frontends - r.Sizes.Sources}
	for key, v := range r.Present.VIPs {
		if v.DNATBackend && key.Port != 0 {
			s.dnat--
		}
	}
	for _, one := range r.services {
		s.dnat -= len(one.Frontends)
		for _, b := range one.Backends {
			if _, there := r.present[numbers[one.Name]][b.Address]; there {
				continue
			}
			s.backends--
			if one.Forward == model.DNAT {
				s.dnat--
			}
		}
	}
	return s
}

// spareOfUpdate is the same for a few services, none of which is new: what is
// not dnat, for that is never updated alone.
func (r *round) spareOfUpdate() spare {
	return spare{r.Sizes.Backends - 1 - len(r.Present.Backends), math.MaxInt}
}

// fitting returns those backends of a service that get a place, and notes how
// many do not.
func (r *round) fitting(s model.Service, id uint32, backends []model.Backend, state *ServiceState) []model.Backend {
	if len(s.Sources) == 0 {
		return backends
	}
	static := make(map[netip.AddrPort]bool, len(s.Backends))
	for _, b := range s.Backends {
		static[b.Address] = true
	}
	table := r.Sizes.Table - len(static)
	fit := make([]model.Backend, 0, len(backends))
	var first netip.AddrPort
	setting := ""
	for _, b := range backends {
		if static[b.Address] {
			fit = append(fit, b)
			continue
		}
		_, there := r.present[id][b.Address]
		full := ""
		switch {
		case table <= 0:
			full = "table_size"
		case there:
		case r.spare.backends <= 0:
			full = "max_backends"
		case s.Forward == model.DNAT && r.spare.dnat <= 0:
			full = "max_frontends"
		}
		if full != "" {
			if state.left++; state.left == 1 {
				first, setting = b.Address, full
			}
			continue
		}
		table--
		if !there {
			r.spare.backends--
			if s.Forward == model.DNAT {
				r.spare.dnat--
			}
		}
		fit = append(fit, b)
	}
	if state.left > 0 {
		state.warnings = append(state.warnings, fmt.Sprintf("service %q: there is no room for %d of the backends that its sources found, the first of them %s (raise %s and restart)",
			s.Name, state.left, first, setting))
	}
	return fit
}

// leftOut says whether a plan has backends without a place: only a whole plan
// can tell who gets one that becomes free.
func (p *Plan) leftOut() bool {
	for i := range p.Services {
		if p.Services[i].left > 0 {
			return true
		}
	}
	return false
}

package control

import (
	"slices"

	"github.com/xlb-io/xlb/pkg/api"
)

// reasonCritical begins the reasons that a service or a backend which is marked
// critical is down.
const reasonCritical = "critical_down:"

// criticalDown are the reasons of a service: itself, if it is critical and no
// backend is usable, and its critical backends that do not serve and should.
func (s *ServiceState) criticalDown() (reasons []string) {
	if s.Critical && s.Usable == 0 {
		reasons = append(reasons, reasonCritical+s.Name)
	}
	for _, b := range s.Backends {
		if b.Critical && (b.State == api.StateUnhealthy || b.State == api.StateEjected) {
			reasons = append(reasons, reasonCritical+s.Name+"/"+b.Address.String())
		}
	}
	return reasons
}

// isCritical says whether the service or a backend is marked so.
func (s *ServiceState) isCritical() bool {
	return s.Critical || slices.ContainsFunc(s.Backends, func(b BackendState) bool { return b.Critical })
}

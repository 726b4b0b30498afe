package discovery

import "github.com/xlb-io/xlb/pkg/model"

// Unusable says why a backend cannot be one of service s, which is one of services;
// empty if it can. What depends on the host, as whether the address is the host's
// own, the plan finds out.
func Unusable(services []model.Service, s model.Service, b model.Backend) string {
	if s.Forward != model.DNAT {
		services = []model.Service{s} // frontends of others do no harm
	}
	return unusable(s, frontendsOf(services), b)
}

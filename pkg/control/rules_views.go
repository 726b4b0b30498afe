package control

import (
	"slices"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// rulesOf are the rules of a service as they are in force; nil if it has none.
func (c *controller) rulesOf(s *snapshot, cfg model.Service, state ServiceState) *api.Rules {
	r := cfg.Rules
	if !r.Lists() && !r.Limits() {
		return nil
	}
	out := &api.Rules{
		Allow: state.Rules.Allow, Deny: state.Rules.Deny, Steer: state.Rules.Steer, Prefixes: state.Rules.Prefixes,
		Files: s.ruleFiles(r), MaxConnections: r.MaxConnections,
		Rate: ruleRate(r.Rate, 0, 0), RatePerSource: ruleRate(r.RatePerSource, r.SourceIPv4, r.SourceIPv6),
	}
	for _, one := range state.Subsets {
		out.Subsets = append(out.Subsets, api.RuleSubset{
			Tag: one.Tag, Zone: one.Zone, Backends: one.Backends, Usable: one.Usable, FallsBack: one.FallsBack,
		})
	}
	if r.MaxConnections > 0 {
		out.Connections = c.data.ServiceLoad(state.ID).Connections
	}
	return out
}

func ruleRate(r model.Rate, ipv4, ipv6 int) *api.RuleRate {
	if r.PerSecond == 0 {
		return nil
	}
	return &api.RuleRate{PerSecond: r.PerSecond, Burst: r.Burst, IPv4: ipv4, IPv6: ipv6}
}

// ruleFiles are the files of a service's rules.
func (s *snapshot) ruleFiles(r model.Rules) []api.RuleFile {
	var out []api.RuleFile
	for _, path := range slices.Sorted(slices.Values(r.Files())) {
		n := s.cfg.Networks[path]
		if n == nil {
			continue
		}
		out = append(out, api.RuleFile{Path: path, Prefixes: n.Len(), Modified: n.Modified, Error: s.unreadable[path]})
	}
	return out
}

// staleRules are the reasons of services one of whose files is wrong now.
func (s *snapshot) staleRules() (reasons []string) {
	for _, one := range s.cfg.Services {
		if slices.ContainsFunc(one.Rules.Files(), func(path string) bool { return s.unreadable[path] != "" }) {
			reasons = append(reasons, "rules_stale:"+one.Name)
		}
	}
	return reasons
}

func refusedOf(r maps.Refused) api.Refused {
	return api.Refused{
		Denied: r.Denied, NotAllowed: r.NotAllowed, Rate: r.Rate, RatePerSource: r.RatePerSource, MaxConnections: r.Connections,
	}
}

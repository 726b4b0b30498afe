package bench

import (
	"net/netip"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// rulesOf are the rules of a variant, in one family: an allow list of ten prefixes
// or of a hundred thousand clients, each by its address, so that a look-up goes all
// the way down; or a deny list of those.
func rulesOf(v variant, f int) (rules maps.Rules) {
	all, listed := model.NotAllowed, model.Taken
	if v == barred {
		all, listed = model.Taken, model.Denied
	}
	rules = maps.Rules{
		{Prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Verdict: all},
		{Prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Verdict: all},
	}
	if v == few10 {
		rules = append(rules, maps.Rule{Prefix: clients[f], Verdict: listed})
		for i := range uint32(9) {
			p, _ := addTo(own[f].Addr(), i<<8).Prefix(own[f].Addr().BitLen() - 8)
			rules = append(rules, maps.Rule{Prefix: p, Verdict: listed})
		}
		maps.SortRules(rules)
		return rules
	}
	seen := map[netip.Addr]bool{}
	for i := range many {
		a := client(i, f == 1).Addr()
		if !seen[a] {
			seen[a] = true
			rules = append(rules, maps.Rule{Prefix: netip.PrefixFrom(a, a.BitLen()), Verdict: listed})
		}
	}
	maps.SortRules(rules)
	return rules
}

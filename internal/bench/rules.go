package bench

import (
	"net/netip"
	"sync"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// rulesOf are the rules of a variant. They are the same memory each time, so that
// services share them, and the next forwarding mode's find them where they are.
func rulesOf(v variant) maps.Rules {
	switch v {
	case listed:
		return allowed100k()
	case barred:
		return denied100k()
	}
	return allowed10()
}

var (
	// Each client by its address, so that a look-up goes all the way down; of either
	// family a hundred thousand, but for the few that several flows share.
	allowed100k = sync.OnceValue(func() maps.Rules { return everyClient(model.NotAllowed, model.Taken) })
	denied100k  = sync.OnceValue(func() maps.Rules { return everyClient(model.Taken, model.Denied) })

	allowed10 = sync.OnceValue(func() maps.Rules {
		rules := everybody(model.NotAllowed)
		for f := range own {
			rules = append(rules, maps.Rule{Prefix: clients[f]})
			for i := range uint32(4) {
				p, _ := addTo(own[f].Addr(), i<<8).Prefix(own[f].Addr().BitLen() - 8)
				rules = append(rules, maps.Rule{Prefix: p})
			}
		}
		maps.SortRules(rules)
		return rules
	})
)

func everybody(v model.Verdict) maps.Rules {
	return maps.Rules{
		{Prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Verdict: v},
		{Prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Verdict: v},
	}
}

func everyClient(others, listed model.Verdict) maps.Rules {
	rules, seen := everybody(others), map[netip.Addr]bool{}
	for _, ipv6 := range []bool{false, true} {
		for i := range many {
			a := client(i, ipv6).Addr()
			if !seen[a] {
				seen[a] = true
				rules = append(rules, maps.Rule{Prefix: netip.PrefixFrom(a, a.BitLen()), Verdict: listed})
			}
		}
	}
	maps.SortRules(rules)
	return rules
}

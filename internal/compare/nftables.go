package compare

import (
	"context"
	"fmt"
	"strings"
)

// nftablesRow is the kernel's own NAT, with a rule that picks the backend.
func nftablesRow(name, choice string) row {
	return row{
		name: "nftables-" + name, what: "nftables dnat to " + choice + " mod 4 map", needs: []string{"nft"}, way: translated,
		start: func(ctx context.Context, s *site) (balancer, error) {
			config, err := s.write("nftables.conf", s.ruleset(choice))
			if err != nil {
				return balancer{}, err
			}
			if _, err := s.Balancer.Command(ctx, "nft", "-f", config).Output(); err != nil {
				return balancer{}, err
			}
			// A closed connection's entry is of no more use; without this they
			// pile up for two minutes.
			return balancer{}, s.Balancer.Sysctl("net.netfilter.nf_conntrack_tcp_timeout_time_wait", "10")
		},
	}
}

func (s *site) ruleset(choice string) string {
	var b strings.Builder
	fmt.Fprintln(&b, "table ip balance {\n\tchain prerouting {\n\t\ttype nat hook prerouting priority dstnat;")
	for _, f := range s.frontends() {
		fmt.Fprintf(&b, "\t\tip daddr %s tcp dport %d dnat to ", f.at.Addr(), f.at.Port())
		if len(f.backends) == 1 {
			fmt.Fprintln(&b, f.backends[0].Addr())
			continue
		}
		var choices []string
		for i, one := range f.backends {
			choices = append(choices, fmt.Sprintf("%d: %s", i, one.Addr()))
		}
		fmt.Fprintf(&b, "%s mod %d map { %s }\n", choice, len(choices), strings.Join(choices, ", "))
	}
	fmt.Fprintln(&b, "\t}\n}")
	return b.String()
}

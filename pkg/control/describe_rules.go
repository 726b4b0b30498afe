package control

import (
	"fmt"
	gomaps "maps"
	"strings"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// subsetsOf are the subsets that there are or were.
func subsetsOf(c maps.Changes, w Words) map[uint32]maps.Subset {
	out := gomaps.Clone(w.Subsets)
	if out == nil {
		out = map[uint32]maps.Subset{}
	}
	for _, s := range c.Subsets {
		if _, known := out[s.Key]; !known {
			out[s.Key] = either(s)
		}
	}
	return out
}

// table is the service that a table is of, and its name.
func (w Words) table(id uint32, subsets map[uint32]maps.Subset) (service, key string) {
	s, ok := subsets[id]
	if !ok {
		return w.service(id), w.service(id)
	}
	service = w.service(s.Service)
	return service, fmt.Sprintf("%s (%s)", service, model.Subset{Tag: s.Tag, Zone: s.Zone})
}

func rulesText(r maps.Rules) string {
	verdicts := map[model.Verdict]int{}
	tables := map[uint32]bool{}
	for _, one := range r {
		verdicts[one.Verdict]++
		if one.Table != 0 {
			tables[one.Table] = true
		}
	}
	var parts []string
	for _, v := range []model.Verdict{model.Taken, model.Denied, model.NotAllowed} {
		if n := verdicts[v]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	text := fmt.Sprintf("%d prefixes: %s", len(r), strings.Join(parts, ", "))
	switch len(tables) {
	case 0:
		return text
	case 1:
		return text + ", some of them by one subset's table"
	}
	return fmt.Sprintf("%s, some of them by the tables of %d subsets", text, len(tables))
}

// rulesChanged says how many prefixes differ, of which the kinds alone do not tell.
// Both are in their order.
func rulesChanged(old, new maps.Rules) string {
	added, gone, other := 0, 0, 0
	for len(old) > 0 || len(new) > 0 {
		switch {
		case len(old) == 0 || len(new) > 0 && new[0].Prefix.Compare(old[0].Prefix) < 0:
			added++
			new = new[1:]
		case len(new) == 0 || new[0].Prefix != old[0].Prefix:
			gone++
			old = old[1:]
		default:
			if new[0] != old[0] {
				other++
			}
			old, new = old[1:], new[1:]
		}
	}
	return fmt.Sprintf("; %d new, %d gone, %d decide otherwise", added, gone, other)
}

// limitsText is empty without limits.
func limitsText(l maps.Limits) string {
	var parts []string
	if r := l.Rate; r.PerSecond > 0 {
		parts = append(parts, fmt.Sprintf("%d new flows a second, %d at once", r.PerSecond, r.Burst))
	}
	if r := l.RatePerSource; r.PerSecond > 0 {
		parts = append(parts, fmt.Sprintf("%d new flows a second of an IPv4 /%d or IPv6 /%d, %d at once", r.PerSecond, l.IPv4, l.IPv6, r.Burst))
	}
	if l.MaxConnections > 0 {
		parts = append(parts, fmt.Sprintf("at most %d open", l.MaxConnections))
	}
	return strings.Join(parts, ", ")
}

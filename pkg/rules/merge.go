package rules

import (
	"cmp"
	"net/netip"
	"slices"
)

// comparePrefixes orders as [netip.Prefix.Compare], which masks them first: these are.
func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// merge joins halves of a prefix of which the same is said, again and again: of a
// continent half of the prefixes are left. What longer prefixes say stays as it is.
func merge(rules []Rule) []Rule {
	m := merger{out: make([]Rule, 0, len(rules))}
	for _, r := range rules {
		for len(m.open) > 0 && !holds(m.open[len(m.open)-1].Prefix, r.Prefix) {
			m.close()
		}
		m.open = append(m.open, r)
	}
	for len(m.open) > 0 {
		m.close()
	}
	m.out = append(m.out, m.closed...)
	slices.SortFunc(m.out, func(a, b Rule) int { return comparePrefixes(a.Prefix, b.Prefix) })
	return dropImplied(m.out)
}

// merger goes through rules in their order.
type merger struct {
	// open are those that hold the present one, the longest last.
	open []Rule
	// closed are those that are done and that no other done one holds.
	closed []Rule
	out    []Rule
}

// close ends the longest open rule.
func (m *merger) close() {
	r := m.open[len(m.open)-1]
	m.open = m.open[:len(m.open)-1]
	for n := len(m.closed); n > 0 && holds(r.Prefix, m.closed[n-1].Prefix); n = len(m.closed) {
		m.out = append(m.out, m.closed[n-1])
		m.closed = m.closed[:n-1]
	}
	for n := len(m.closed); n > 0 && r.Prefix.Bits() > 0; n = len(m.closed) {
		both, err := r.Prefix.Addr().Prefix(r.Prefix.Bits() - 1)
		left := m.closed[n-1]
		if err != nil || left.Prefix.Bits() != r.Prefix.Bits() || left.Prefix.Addr() != both.Addr() || !sayTheSame(left, r) {
			break
		}
		m.closed = m.closed[:n-1]
		r.Prefix = both
		if o := len(m.open); o > 0 && m.open[o-1].Prefix == both {
			m.open[o-1] = r // what it said holds for nobody
			return
		}
	}
	m.closed = append(m.closed, r)
}

func sayTheSame(a, b Rule) bool { return a.Verdict == b.Verdict && a.To == b.To }

// dropImplied leaves out what says what the next shorter prefix says.
func dropImplied(rules []Rule) []Rule {
	out := rules[:0]
	var outer []Rule
	for _, r := range rules {
		for len(outer) > 0 && !holds(outer[len(outer)-1].Prefix, r.Prefix) {
			outer = outer[:len(outer)-1]
		}
		if len(outer) > 0 && sayTheSame(outer[len(outer)-1], r) {
			continue
		}
		outer, out = append(outer, r), append(out, r)
	}
	return out
}

package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/xlb-io/xlb/pkg/model"
)

// Rule is what becomes of the sources of a prefix that no longer prefix holds.
type Rule struct {
	Prefix  netip.Prefix
	Verdict model.Verdict
	// To is where the sources are steered, if they are taken.
	To model.Subset
}

// Compile turns the rules of a service into prefixes of which the longest that
// holds a source decides: sorted by family, address and length, none that says
// what the next shorter one says, and halves of the same verdict joined. Both families
// have one for all of their addresses. It fails if files lacks one that the rules name, or if
// there are more than [MaxPrefixes].
func Compile(r model.Rules, files map[string]*model.Networks) ([]Rule, error) {
	entries, err := collect(r, files)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b entry) int { return comparePrefixes(a.prefix, b.prefix) })
	var out []Rule
	var outer []covering // the prefixes that hold the present one, longest last
	for i := 0; i < len(entries); {
		p := entries[i].prefix
		for len(outer) > 0 && !holds(outer[len(outer)-1].prefix, p) {
			outer = outer[:len(outer)-1]
		}
		now := covering{allow: -1, deny: -1, steer: nowhere}
		if len(outer) > 0 {
			now = outer[len(outer)-1]
		}
		now.prefix = p
		for ; i < len(entries) && entries[i].prefix == p; i++ {
			now.take(entries[i].list, p.Bits())
		}
		before := now.rule
		now.rule = now.decide(r)
		if len(outer) == 0 || now.rule != before {
			one := now.rule
			one.Prefix = p
			out = append(out, one)
		}
		outer = append(outer, now)
	}
	if out = merge(out); len(out) > MaxPrefixes {
		return nil, fmt.Errorf("the rules come to %d prefixes, there is room for %d", len(out), MaxPrefixes)
	}
	return out, nil
}

// list tells of which list of the rules a prefix is: one of these, or the number
// of an element of Steer.
type list int

const (
	everywhere list = -3
	allowList  list = -2
	denyList   list = -1
)

type entry struct {
	prefix netip.Prefix
	list   list
}

// collect gathers the prefixes of all lists.
func collect(r model.Rules, files map[string]*model.Networks) (out []entry, err error) {
	add := func(of list, prefixes []netip.Prefix) {
		for _, p := range prefixes {
			out = append(out, entry{p, of})
		}
	}
	from := func(of list, origins []model.Origin) {
		for _, o := range origins {
			if o.File == "" {
				add(of, []netip.Prefix{o.Prefix})
			} else if n := files[o.File]; n != nil {
				add(of, n.Prefixes)
			} else {
				err = fmt.Errorf("%s is not read", o.File)
			}
		}
	}
	add(everywhere, []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)})
	from(allowList, r.Allow)
	from(denyList, r.Deny)
	for i, s := range r.Steer {
		from(list(i), s.From)
		if s.GeoIP == "" {
			continue
		}
		n := files[s.GeoIP]
		if n == nil {
			return nil, fmt.Errorf("%s is not read", s.GeoIP)
		}
		for place, prefixes := range n.Places {
			if isIn(s, place) {
				add(list(i), prefixes)
			}
		}
	}
	return out, err
}

const nowhere = int(^uint(0) >> 1)

// covering is what all lists say of the addresses of a prefix that no longer
// prefix of any list holds.
type covering struct {
	prefix netip.Prefix
	// allow and deny are the lengths of the longest prefixes of these lists that
	// hold it, -1 if none does; steer is the first element of Steer that does.
	allow, deny, steer int
	rule               Rule // without a prefix
}

func (c *covering) take(of list, length int) {
	switch of {
	case everywhere:
	case allowList:
		c.allow = length
	case denyList:
		c.deny = length
	default:
		c.steer = min(c.steer, int(of))
	}
}

func (c *covering) decide(r model.Rules) Rule {
	switch {
	case c.deny >= 0 && c.deny >= c.allow:
		return Rule{Verdict: model.Denied}
	case r.Allow != nil && c.allow < 0:
		return Rule{Verdict: model.NotAllowed}
	case c.steer != nowhere:
		return Rule{To: r.Steer[c.steer].To}
	}
	return Rule{To: r.Default}
}

// holds says whether outer holds all of inner.
func holds(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

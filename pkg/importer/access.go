package importer

import (
	"net/netip"
	"slices"
)

// rule admits or refuses clients by their address. The first of a list that holds
// a client decides.
type rule struct {
	at    place
	what  string // the line as it is written
	allow bool
	// only: who is not in it is refused, who is goes on to the rules after it.
	only bool
	// from is an address, a prefix or, if file, the name of a file of them.
	from string
	file bool
}

// access turns rules of which the first decides into lists of which the longest
// prefix does. Closed: who is in no rule is refused.
func (w *work) access(rules []rule, closed bool, s *Service) {
	type entry struct {
		rule
		prefix netip.Prefix
	}
	var kept []entry
	for _, r := range rules {
		if r.only && slices.ContainsFunc(kept, func(k entry) bool { return k.only && k.at != r.at }) {
			w.note(r.at, r.what, "allow: is one list; the one before it counts")
			continue
		}
		e := entry{rule: r}
		if !r.file {
			var ok bool
			if e.prefix, ok = prefixOf(r.from); !ok {
				w.note(r.at, r.what, "%q is no address or prefix, and names are not looked up", r.from)
				continue
			}
		}
		decided := func(k entry) bool { return !k.only && k.allow != e.allow && covers(k.prefix, e.prefix) }
		if slices.ContainsFunc(kept, decided) {
			w.note(r.at, r.what, "what stands before it decides for %s", r.from)
			continue
		}
		if !r.allow { // whom `only` lets go on is refused here
			kept = slices.DeleteFunc(kept, func(k entry) bool { return k.only && covers(e.prefix, k.prefix) })
		}
		kept = append(kept, e)
		closed = closed || r.only
	}
	for _, e := range kept {
		from := e.from
		if !e.file {
			from = prefixText(e.prefix)
		}
		if e.allow {
			s.Allow = append(s.Allow, from)
		} else {
			s.Deny = append(s.Deny, from)
		}
	}
	switch everybody := []string{"0.0.0.0/0", "::/0"}; {
	case closed && len(s.Allow) == 0:
		s.Deny = everybody
	case !closed && len(s.Deny) == 0:
		s.Allow = nil
	case !closed && len(s.Allow) > 0:
		s.Allow = append(s.Allow, everybody...) // an allow list admits nobody else
	}
}

func prefixOf(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), true
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	// HAProxy takes 10.0.0.0/255.0.0.0 too.
	for i := range s {
		if s[i] != '/' {
			continue
		}
		a, err1 := netip.ParseAddr(s[:i])
		mask, err2 := netip.ParseAddr(s[i+1:])
		if err1 == nil && err2 == nil && a.Is4() && mask.Is4() {
			return netip.PrefixFrom(a, ones(mask.As4())).Masked(), true
		}
	}
	return netip.Prefix{}, false
}

func covers(a, b netip.Prefix) bool {
	return a.IsValid() && b.IsValid() && a.Bits() <= b.Bits() && a.Contains(b.Addr())
}

// prefixText is a prefix as people write it: a single address alone.
func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

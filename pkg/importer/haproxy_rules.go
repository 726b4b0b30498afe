package importer

import (
	"slices"
	"strings"
)

// rules turns those on new connections that ask for the client's address alone:
// of HAProxy, too, the first that holds decides.
func (h *haproxy) rules(front, back *proxy, s *Service) {
	lines := front.lines
	if back != front {
		lines = slices.Concat(front.lines, back.lines)
	}
	acls := aclsOf(lines)
	var list []rule
	set := "" // what an `accept` of one set ends is that set alone
	closed, unknown := false, false
	for _, l := range lines {
		verb := l.arg(1)
		if l.first() != "tcp-request" || l.arg(0) == "inspect-delay" {
			continue
		}
		from, negated, known := conditionOf(l, acls)
		accepted := slices.ContainsFunc(list, func(r rule) bool { return r.allow && !r.only })
		if accepted && l.arg(0) != set {
			known, from = false, nil
		}
		set = l.arg(0)
		switch {
		case verb != "accept" && verb != "reject":
			known = false
		case from == nil && known && (verb == "reject" && !unknown || verb == "accept"):
			closed = verb == "reject"
			h.access(list, closed, s)
			return
		case from == nil || negated && verb == "accept":
			known = false
		}
		if !known {
			unknown = true
			h.note(l.at, l.String(), "%s", whyNoRule(l))
			continue
		}
		list = append(list, rulesOf(l, from, verb == "accept", negated)...)
	}
	h.access(list, closed, s)
}

// aclsOf are the lists of addresses by their names; a name that asks for anything
// else too is none.
func aclsOf(lines []words) map[string][]string {
	acls, other := map[string][]string{}, map[string]bool{}
	for _, l := range lines {
		switch {
		case l.first() != "acl":
		case l.arg(1) == "src":
			acls[l.arg(0)] = append(acls[l.arg(0)], l.text[3:]...)
		default:
			other[l.arg(0)] = true
		}
	}
	for name := range other {
		delete(acls, name)
	}
	return acls
}

func whyNoRule(l words) string {
	if l.arg(0) == "connection" {
		return "allow: and deny: know the client's address alone, rate: and rate_per_source: new connections a second"
	}
	return "xlb does not look into connections; a policy can decide on new flows"
}

// rulesOf are those of one line. Negated: `reject unless`.
func rulesOf(l words, from []string, allow, negated bool) []rule {
	var out []rule
	for i := 0; i < len(from); i++ {
		r := rule{at: l.at, what: l.String(), allow: allow || negated, only: negated}
		switch from[i] {
		case "-f":
			i++
			if i == len(from) {
				return out
			}
			r.from, r.file = from[i], true
		case "-m", "-n", "ip", "--":
			continue
		default:
			r.from = from[i]
		}
		out = append(out, r)
	}
	return out
}

// conditionOf is what a rule's condition asks of the client's address, nil if the
// rule has no condition, and whether that is all that it asks.
func conditionOf(l words, acls map[string][]string) (from []string, negated, known bool) {
	i := slices.IndexFunc(l.text, func(w string) bool { return w == "if" || w == "unless" })
	if i < 0 {
		return nil, false, len(l.text) == 3
	}
	terms := l.text[i+1:]
	for len(terms) > 0 {
		end := slices.IndexFunc(terms, func(w string) bool { return w == "or" || w == "||" })
		term := terms
		if end >= 0 {
			term, terms = terms[:end], terms[end+1:]
		} else {
			terms = nil
		}
		list, not, ok := termOf(term, acls)
		if !ok || not && (end >= 0 || from != nil) {
			return nil, false, false
		}
		from, negated = append(from, list...), not
	}
	if l.text[i] == "unless" {
		negated = !negated
	}
	return from, negated, len(from) > 0
}

// termOf reads NAME, !NAME, { src … } or !{ src … }.
func termOf(term []string, acls map[string][]string) (from []string, negated, ok bool) {
	if len(term) > 1 && term[0] == "!" {
		term = append([]string{"!" + term[1]}, term[2:]...)
	}
	if len(term) == 0 {
		return nil, false, false
	}
	name := strings.TrimPrefix(term[0], "!")
	negated = name != term[0]
	if name == "{" {
		if len(term) < 4 || term[1] != "src" || slices.Index(term, "}") != len(term)-1 {
			return nil, false, false
		}
		return slices.Clone(term[2 : len(term)-1]), negated, true
	}
	from, ok = acls[name]
	return from, negated, ok && len(term) == 1
}

package discovery

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/xlb-io/xlb/pkg/model"
)

// named is how many backends of a source that are left out, or cannot be
// understood, are named; the others are counted.
const named = 5

// few keeps the warnings that fit a status and a log: an answer of thousands that
// cannot be understood is no flood of them.
func few(warnings []string) []string {
	if left := len(warnings) - named; left > 1 {
		return append(slices.Clone(warnings[:named]), fmt.Sprintf("%d more warnings", left))
	}
	return warnings
}

// clean brings an answer into the form in which answers are kept and compared:
// sorted, each address once, IPv4 as IPv4, labels that can be shown.
func clean(s model.Source, backends []model.Backend) (answer []model.Backend, warnings []string) {
	answer = slices.Clone(backends)
	labels, ids := 0, 0
	for i := range answer {
		b := &answer[i]
		port := cmp.Or(b.Address.Port(), s.Backend.Address.Port())
		b.Address = netip.AddrPortFrom(b.Address.Addr().Unmap(), port)
		if !model.ValidZone(b.Zone) {
			b.Zone = s.Backend.Zone
			labels++
		}
		tags := slices.DeleteFunc(b.Tags.List(), func(t string) bool { return !model.ValidTag(t) })
		if kept := model.TagsOf(tags...); kept != b.Tags {
			b.Tags = kept
			labels++
		}
		if b.ServerID = strings.ToLower(b.ServerID); !model.ValidServerID(b.ServerID) {
			b.ServerID = ""
			ids++
		}
	}
	if labels > 0 {
		warnings = append(warnings, fmt.Sprintf("%d backends have a zone or tags that are left out: a zone has 1 to 63 bytes without control characters, a tag neither commas nor spaces", labels))
	}
	if ids > 0 {
		warnings = append(warnings, fmt.Sprintf("%d backends have a server ID that is left out: it is 1 to 15 octets in hexadecimal digits", ids))
	}
	slices.SortStableFunc(answer, func(a, b model.Backend) int { return a.Address.Compare(b.Address) })
	length := len(answer)
	answer = slices.CompactFunc(answer, func(a, b model.Backend) bool { return a.Address == b.Address })
	if double := length - len(answer); double > 0 {
		warnings = append(warnings, fmt.Sprintf("the answer holds %d backends more than once; the first word on each counts", double))
	}
	return answer, warnings
}

// join returns the backends of a service: those it lists, then those found by
// its sources, in the order of the configuration. Of an address that several
// give the first counts. What cannot be used is left out.
func join(s model.Service, frontends map[model.Frontend]string, found func(source string) []model.Backend) (all []model.Backend, warnings []string) {
	if len(s.Sources) == 0 {
		return s.Backends, nil
	}
	first := make(map[netip.AddrPort]string, len(s.Backends))
	for _, b := range s.Backends {
		first[b.Address] = "static"
	}
	all = slices.Clone(s.Backends)
	for _, source := range s.Sources {
		left := 0
		for _, b := range found(source.Name) {
			why := unusable(s, frontends, b)
			if other, double := first[b.Address]; double {
				why = fmt.Sprintf("source %q has it already, and counts", other)
			}
			if why == "" {
				first[b.Address] = source.Name
				all = append(all, b)
				continue
			}
			if left++; left <= named {
				warnings = append(warnings, fmt.Sprintf("service %q: backend %s of source %q is left out: %s", s.Name, b.Address, source.Name, why))
			}
		}
		if left > named {
			warnings = append(warnings, fmt.Sprintf("service %q: %d more backends of source %q are left out", s.Name, left-named, source.Name))
		}
	}
	return all, warnings
}

// unusable says why a backend cannot be one of the service; empty if it can.
// What depends on the host, as whether the address is the host's own, the plan
// finds out.
func unusable(s model.Service, frontends map[model.Frontend]string, b model.Backend) string {
	a := b.Address.Addr()
	switch {
	case !a.IsGlobalUnicast() || a.Zone() != "" || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "not an address that other hosts can reach"
	case b.Address.Port() == 0:
		return "it has no port, and the frontends have several (set port)"
	case len(s.Frontends) == 0:
		return ""
	}
	front := s.Frontends[0]
	listens := model.Frontend{VIP: a, Port: b.Address.Port(), Protocol: front.Protocol}
	owner, frontend := frontends[listens]
	switch {
	case s.Forward.RewritesPorts() && a.Is4() != front.VIP.Is4():
		return fmt.Sprintf("it is of another family than frontend %s, and %s cannot translate between them", front, s.Forward)
	case !s.Forward.RewritesPorts() && s.Forward != 0 && listens.Port != front.Port:
		return fmt.Sprintf("it has another port than frontend %s, and %s cannot rewrite ports", front, s.Forward)
	case frontend && owner == s.Name:
		return "it is a frontend of the same service: packets would go in circles"
	case frontend && s.Forward == model.DNAT:
		return fmt.Sprintf("it is a frontend of service %q too: replies of a dnat backend could not be told from requests", owner)
	}
	return ""
}

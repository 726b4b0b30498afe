package main

import (
	"fmt"
	"strings"

	"github.com/xlb-io/xlb/pkg/api"
)

// printRules shows whom a service takes packets of, where it steers them, and how
// many new flows it takes.
func (e *env) printRules(s api.ServiceDetail, line func(name, format string, args ...any)) {
	r := s.Rules
	if r == nil {
		return
	}
	if r.Prefixes > 0 {
		line("rules", "%s", listsText(r))
	}
	for _, one := range r.Subsets {
		text := fmt.Sprintf("%s: %d of %s usable", subsetText(one), one.Usable, plural(one.Backends, "backend"))
		if one.FallsBack {
			text += "; the whole service takes its flows"
		}
		line("steers to", "%s", text)
	}
	for _, f := range r.Files {
		text := fmt.Sprintf("%s: %s prefixes of %s", f.Path, humanCount(uint64(f.Prefixes)), f.Modified.Format("2006-01-02 15:04:05"))
		if f.Error != "" {
			text += "; now wrong: " + f.Error
		}
		line("file", "%s", text)
	}
	if text := limitsText(r); text != "" {
		line("limits", "%s", text)
	}
}

// listsText is how many prefixes the lists hold, and what they come to.
func listsText(r *api.Rules) string {
	var parts []string
	for _, one := range []struct {
		n    int
		what string
	}{{r.Allow, "allowed"}, {r.Deny, "denied"}, {r.Steer, "steered"}} {
		if one.n > 0 {
			parts = append(parts, humanCount(uint64(one.n))+" "+one.what)
		}
	}
	if len(parts) == 0 {
		parts = []string{"none"}
	}
	return fmt.Sprintf("%s; %s prefixes in the kernel", strings.Join(parts, ", "), humanCount(uint64(r.Prefixes)))
}

func subsetText(s api.RuleSubset) string {
	var parts []string
	if s.Tag != "" {
		parts = append(parts, "tag "+s.Tag)
	}
	if s.Zone != "" {
		parts = append(parts, "zone "+s.Zone)
	}
	return strings.Join(parts, ", ")
}

func limitsText(r *api.Rules) string {
	var parts []string
	if l := r.Rate; l != nil {
		parts = append(parts, fmt.Sprintf("%d new flows a second, %d at once", l.PerSecond, l.Burst))
	}
	if l := r.RatePerSource; l != nil {
		parts = append(parts, fmt.Sprintf("%d a second, %d at once, of an IPv4 /%d or IPv6 /%d", l.PerSecond, l.Burst, l.IPv4, l.IPv6))
	}
	if r.MaxConnections > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d open", r.Connections, r.MaxConnections))
	}
	return strings.Join(parts, "; ")
}

// refusedText is empty if nothing was refused.
func refusedText(r api.Refused) string {
	var parts []string
	for _, c := range r.Causes() {
		if c.Packets > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", humanCount(c.Packets), strings.ReplaceAll(c.Cause, "_", " ")))
		}
	}
	return strings.Join(parts, ", ")
}

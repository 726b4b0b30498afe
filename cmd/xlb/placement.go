package main

import (
	"fmt"
	"strings"

	"github.com/xlb-io/xlb/pkg/api"
)

// placementLines tell which backends of a service take part, a name and a text each.
func placementLines(s api.ServiceDetail) (lines [][2]string) {
	add := func(name string, parts ...string) {
		if text := strings.Join(parts, ", "); text != "" {
			lines = append(lines, [2]string{name, text})
		}
	}
	p := s.Placement
	add("subset", p.Subset)
	add("tiers", tierParts(s)...)
	var zones []string
	if p.PreferZone != "" {
		zones = append(zones, "prefer "+p.PreferZone)
	}
	if p.EqualZones {
		zones = append(zones, "equal shares")
	}
	if p.ZoneMinHealthy > 0 {
		zones = append(zones, fmt.Sprintf("less below %d%% usable", p.ZoneMinHealthy))
	}
	add("zones", zones...)
	if p.PanicThreshold > 0 {
		add("panic", fmt.Sprintf("below %d%% usable", p.PanicThreshold))
	}
	if p.SlowStartSeconds > 0 {
		add("slow start", seconds(p.SlowStartSeconds))
	}
	if p.DrainTimeoutSeconds > 0 {
		add("drain", "flows move after "+seconds(p.DrainTimeoutSeconds))
	}
	return lines
}

func tierParts(s api.ServiceDetail) (parts []string) {
	p := s.Placement
	if len(s.ServingTiers) > 0 {
		text, verb := "", " serves"
		for i, t := range s.ServingTiers {
			if i > 0 {
				text, verb = text+" and ", " serve"
			}
			text += fmt.Sprint(t)
		}
		parts = append(parts, text+verb)
	}
	if least := max(p.TierMinHealthy, p.PanicThreshold); least > 0 && (len(s.ServingTiers) > 0 || p.TierMinHealthy > 0) {
		what := map[string]string{"add": "added", "switch": "taken"}[p.TierWhenLow]
		parts = append(parts, fmt.Sprintf("below %d%% usable the next one is %s", least, what))
	}
	if p.TierReturnAfterSeconds > 0 {
		parts = append(parts, "return after "+seconds(p.TierReturnAfterSeconds))
	}
	return parts
}

package config

import (
	"slices"

	"github.com/xlb-io/xlb/pkg/model"
)

// startOnly are the settings that take effect at the daemon's start, by key.
var startOnly = []struct {
	key  string
	same func(a, b *model.Settings) bool
}{
	{"interfaces", func(a, b *model.Settings) bool {
		return slices.Equal(slices.Sorted(slices.Values(a.Interfaces)), slices.Sorted(slices.Values(b.Interfaces)))
	}},
	{"attach", func(a, b *model.Settings) bool { return a.Attach == b.Attach }},
	{"next_hop", func(a, b *model.Settings) bool { return a.NextHop == b.NextHop }},
	{"gateway_mac", func(a, b *model.Settings) bool { return a.GatewayMAC == b.GatewayMAC }},
	{"nat_ports", func(a, b *model.Settings) bool { return a.NATPorts == b.NATPorts }},
	{"flow_table_size", func(a, b *model.Settings) bool { return a.FlowTableSize == b.FlowTableSize }},
	{"table_size", func(a, b *model.Settings) bool { return a.TableSize == b.TableSize }},
	{"affinity_table_size", func(a, b *model.Settings) bool { return a.AffinityTableSize == b.AffinityTableSize }},
	{"max_services", func(a, b *model.Settings) bool { return a.MaxServices == b.MaxServices }},
	{"max_frontends", func(a, b *model.Settings) bool { return a.MaxFrontends == b.MaxFrontends }},
	{"max_backends", func(a, b *model.Settings) bool { return a.MaxBackends == b.MaxBackends }},
	{"max_sources", func(a, b *model.Settings) bool { return a.MaxSources == b.MaxSources }},
}

// StartOnlyChanges returns the keys of the settings that differ between
// running and wanted and that need a restart of the daemon, in the order of
// the reference. The order of interfaces does not count.
func StartOnlyChanges(running, wanted model.Settings) []string {
	var keys []string
	for _, s := range startOnly {
		if !s.same(&running, &wanted) {
			keys = append(keys, s.key)
		}
	}
	return keys
}

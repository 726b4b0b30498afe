package control

import (
	"fmt"
	"net/netip"

	"github.com/xlb-io/xlb/pkg/model"
)

// autoSources are the source addresses that the configuration leaves to the
// host, by Is4.
type autoSources struct{ nat, tunnel map[bool]netip.Addr }

// sourcesFor returns the source addresses that cfg needs and does not give:
// those that are known and, for the others, what the host would use.
func (c *controller) sourcesFor(cfg *model.Config, discovered map[string][]model.Backend, known autoSources) (found autoSources) {
	if len(cfg.Settings.Sources) == 0 {
		nat := func(f model.Forward) bool { return f == model.NAT }
		found.nat = c.hostSources("sources", nat, cfg, discovered, known.nat)
	}
	if len(cfg.Settings.TunnelSources) == 0 {
		found.tunnel = c.hostSources("tunnel_sources", model.Forward.Tunnels, cfg, discovered, known.tunnel)
	}
	return found
}

// sourceTries is towards how many backends of a family a source is looked for: the
// host may have no route to one of them.
const sourceTries = 8

// hostSources takes, per family, the address that the host would use towards the
// first backend it has a route to, of the services that need the setting.
func (c *controller) hostSources(setting string, need func(model.Forward) bool, cfg *model.Config, discovered map[string][]model.Backend, known map[bool]netip.Addr) map[bool]netip.Addr {
	found, failed := map[bool]netip.Addr{}, map[bool][]error{}
	in := Input{Services: cfg.Services, Discovered: discovered, Added: c.operator.said().Backends}
	for _, s := range cfg.Services {
		if !need(s.Forward) {
			continue
		}
		for _, b := range in.backendsOf(s) {
			to := b.Address.Addr()
			if _, ok := found[to.Is4()]; ok || len(failed[to.Is4()]) == sourceTries {
				continue
			}
			if a, ok := known[to.Is4()]; ok {
				found[to.Is4()] = a
				continue
			}
			a, err := c.host.SourceFor(to)
			if err != nil {
				failed[to.Is4()] = append(failed[to.Is4()], fmt.Errorf("towards %s: %w", to, err))
				continue
			}
			found[to.Is4()] = a
			c.log.Debug("source address taken from the host", "setting", setting, "source", a, "backend", to)
		}
	}
	for is4, errs := range failed {
		if !found[is4].IsValid() {
			c.log.Error("cannot find a source address (set "+setting+")", "error", errs[0], "backends_tried", len(errs))
		}
	}
	return found
}

package control

import (
	gomaps "maps"
	"net/netip"
	"slices"

	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

const reasonProbeRoute = "probes_unrouted"

// routeProbes gives the probes that go via a VIP their way: by the number that
// the plan gave their backend. It follows a plan that the maps hold.
func (c *controller) routeProbes() {
	configured := map[string]bool{}
	for _, s := range c.cfg.Services {
		configured[s.Name] = s.Probe.Via == model.ViaVIP && s.Probe.Type != model.ProbeNone && s.Probe.Type != ""
	}
	ways := map[probe.Key]probe.Via{}
	var vips []netip.Addr
	for _, s := range c.plan.Services {
		if !configured[s.Name] {
			continue
		}
		vip := netip.AddrPortFrom(s.Frontends[0].VIP, s.Frontends[0].Port)
		vips = append(vips, vip.Addr())
		for _, b := range s.Backends {
			ways[probe.Key{Service: s.Name, Backend: b.Address}] = c.way(vip, b)
		}
	}
	slices.SortFunc(vips, netip.Addr.Compare)
	vips = slices.Compact(vips)
	if c.problems[reasonProbeRoute] != nil || c.probedVIPs == nil || !slices.Equal(vips, c.probedVIPs) {
		c.setProbeRoutes(vips)
	}
	if !gomaps.Equal(ways, c.ways) {
		c.ways = ways
		c.aimProbes()
	}
}

func (c *controller) setProbeRoutes(vips []netip.Addr) {
	if err := c.host.RouteProbes(vips); err != nil {
		c.problems[reasonProbeRoute] = err
		c.log.Error("cannot lead probes via the VIP; trying again", "error", err)
		return
	}
	delete(c.problems, reasonProbeRoute)
	c.probedVIPs = append([]netip.Addr{}, vips...)
}

// way is how a probe reaches a backend via a VIP.
func (c *controller) way(vip netip.AddrPort, b BackendState) probe.Via {
	v := probe.Via{VIP: vip, Mark: loader.ProbeMark(b.ID), Source: c.returnAddress(vip.Addr(), b.Address.Addr())}
	if !v.Source.IsValid() {
		return probe.Via{VIP: vip, Problem: "no address of this host that a backend could answer " + vip.Addr().String() + " to (give an interface one of that family)"}
	}
	return v
}

// returnAddress is an address of this host, of the VIP's family and not the VIP,
// that the backend can answer: the one that is used towards it or, if that has the
// other family, the least of an interface of ours.
func (c *controller) returnAddress(vip, backend netip.Addr) netip.Addr {
	local := c.host.LocalAddresses()
	if vip.Is4() == backend.Is4() {
		if a, err := c.host.SourceFor(backend); err == nil && a != vip {
			return a
		}
	}
	var least netip.Addr
	for a, iface := range local {
		if a.Is4() != vip.Is4() || a == vip || !a.IsGlobalUnicast() || !slices.Contains(c.cfg.Settings.Interfaces, iface) {
			continue
		}
		if !least.IsValid() || a.Less(least) {
			least = a
		}
	}
	return least
}

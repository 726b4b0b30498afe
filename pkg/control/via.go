package control

import (
	gomaps "maps"
	"net/netip"
	"slices"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

const reasonProbeRoute = "probes_unrouted"

// routeProbes gives the probes that go via a VIP their way: by the number that
// the plan gave their backend. It follows a plan that the maps hold.
func (c *controller) routeProbes() {
	var probed []ServiceState
	var vips []netip.Addr
	for _, s := range c.plan.Services {
		if s.Via == model.ViaVIP {
			probed = append(probed, s)
			vips = append(vips, s.Frontends[0].VIP)
		}
	}
	slices.SortFunc(vips, netip.Addr.Compare)
	c.setProbeRoutes(slices.Compact(vips))
	ways := map[probe.Key]probe.Via{}
	var from *returnAddresses
	if len(probed) > 0 {
		from = c.returnAddresses()
	}
	for _, s := range probed {
		vip := netip.AddrPortFrom(s.Frontends[0].VIP, s.Frontends[0].Port)
		for _, b := range s.Backends {
			if b.State != api.StateRetired {
				ways[probe.Key{Service: s.Name, Backend: b.Address}] = c.way(vip, b, from)
			}
		}
	}
	if !gomaps.Equal(ways, c.ways) {
		c.ways = ways
		c.aimProbes()
	}
}

// setProbeRoutes tells the host what has changed: the VIPs, or which of them are
// its own.
func (c *controller) setProbeRoutes(vips []netip.Addr) {
	local := c.host.LocalAddresses()
	want := make(map[netip.Addr]bool, len(vips))
	for _, a := range vips {
		_, want[a] = local[a]
	}
	if c.problems[reasonProbeRoute] == nil && c.probedVIPs != nil && gomaps.Equal(want, c.probedVIPs) {
		return
	}
	if err := c.host.RouteProbes(vips); err != nil {
		c.problems[reasonProbeRoute] = err
		c.log.Error("cannot lead probes via the VIP; trying again", "error", err)
		return
	}
	delete(c.problems, reasonProbeRoute)
	c.probedVIPs = want
}

// way is how a probe reaches a backend via a VIP.
func (c *controller) way(vip netip.AddrPort, b BackendState, from *returnAddresses) probe.Via {
	if c.problems[reasonProbeRoute] != nil {
		// Marked packets would go wherever the host's other routes lead.
		return probe.Via{VIP: vip, Problem: "the way via the VIP cannot be set up (see the problem in `xlb status`)"}
	}
	v := probe.Via{VIP: vip, Mark: loader.ProbeMark(b.ID), Source: from.address(vip.Addr(), b.Address.Addr())}
	if !v.Source.IsValid() {
		return probe.Via{VIP: vip, Problem: "no address of this host that a backend could answer " + vip.Addr().String() + " to (give an interface one of that family)"}
	}
	return v
}

// returnAddresses knows the addresses of this host that a backend can answer.
type returnAddresses struct {
	host host
	// vips are all that are configured: what comes to one is balanced.
	vips map[netip.Addr]bool
	// least are the first choices, by Is4, where the route to the backend gives
	// none: a configured source or, of the attached interfaces' addresses, the
	// least.
	least map[bool]netip.Addr
	// towards are the kernel's choices so far, by backend. They hold while the
	// host's addresses do.
	towards map[netip.Addr]netip.Addr
}

func (c *controller) returnAddresses() *returnAddresses {
	r := &returnAddresses{host: c.host, vips: map[netip.Addr]bool{}, least: map[bool]netip.Addr{}, towards: c.towards}
	for _, s := range c.cfg.Services {
		for _, f := range s.Frontends {
			r.vips[f.VIP] = true
		}
	}
	local := c.host.LocalAddresses()
	offer := func(a netip.Addr) {
		if _, ours := local[a]; ours && !r.vips[a] && a.IsGlobalUnicast() && !r.least[a.Is4()].IsValid() {
			r.least[a.Is4()] = a
		}
	}
	for _, p := range c.cfg.Settings.TunnelSources {
		offer(p.Addr())
	}
	for _, a := range c.cfg.Settings.Sources {
		offer(a)
	}
	for _, a := range slices.SortedFunc(gomaps.Keys(local), netip.Addr.Compare) {
		if slices.Contains(c.cfg.Settings.Interfaces, local[a]) {
			offer(a)
		}
	}
	return r
}

// address is one of the VIP's family and no VIP: the one that is used towards the
// backend or, if that has the other family, the first choice.
func (r *returnAddresses) address(vip, backend netip.Addr) netip.Addr {
	if vip.Is4() == backend.Is4() {
		a, known := r.towards[backend]
		if !known {
			var err error
			if a, err = r.host.SourceFor(backend); err == nil {
				r.towards[backend] = a
			}
		}
		if a.IsValid() && !r.vips[a] {
			return a
		}
	}
	return r.least[vip.Is4()]
}

package control

import (
	"fmt"
	"net/netip"
)

// warnOfLocalVIPs tells of VIPs that this host has too. Packets from outside are
// balanced before the stack sees them; the host's own never pass there.
func (r *round) warnOfLocalVIPs() {
	told := map[netip.Addr]bool{}
	for _, s := range r.services {
		for _, f := range s.Frontends {
			iface, local := r.Local[f.VIP]
			if !local || told[f.VIP] {
				continue
			}
			told[f.VIP] = true
			r.plan.Warnings = append(r.plan.Warnings, fmt.Sprintf("VIP %s of service %q is an address of this host (%s): programs on this host that connect to it reach its own sockets, not the service", f.VIP, s.Name, iface))
		}
	}
}

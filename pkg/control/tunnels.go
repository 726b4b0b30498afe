package control

import (
	"fmt"
	"net/netip"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// tunnelIndex is a family's place in [maps.Contents.Tunnels].
func tunnelIndex(a netip.Addr) uint32 {
	if a.Is4() {
		return 0
	}
	return 1
}

// addTunnels writes the outer headers of the families that backends of tunnelled
// services have, those of retired ones included, and notes which services lack
// one.
func (r *round) addTunnels() {
	known := map[uint32]maps.Tunnel{}
	for i, t := range r.Present.Tunnels {
		// For what is retired, if nothing newer is known.
		t.GUEPort = r.Settings.GUEPort
		known[i] = t
	}
	for _, a := range r.AutoTunnelSources {
		known[tunnelIndex(a)] = maps.TunnelFrom(netip.PrefixFrom(a, a.BitLen()), r.Settings.GUEPort)
	}
	for _, p := range r.Settings.TunnelSources {
		known[tunnelIndex(p.Addr())] = maps.TunnelFrom(p, r.Settings.GUEPort)
	}
	for _, b := range r.plan.Contents.Backends {
		i := tunnelIndex(b.Address.Addr())
		if t, ok := known[i]; ok && r.plan.Contents.Services[b.Service].Forward.Tunnels() {
			r.plan.Contents.Tunnels[i] = t
		}
	}
	for i := range r.plan.Services {
		r.describeTunnels(&r.plan.Services[i])
	}
}

func (r *round) describeTunnels(s *ServiceState) {
	if !s.Forward.Tunnels() {
		return
	}
	uses := map[uint32]bool{}
	for _, b := range s.Backends {
		uses[tunnelIndex(b.Address.Addr())] = true
	}
	for i, family := range []string{"IPv4", "IPv6"} {
		t, ok := r.plan.Contents.Tunnels[uint32(i)]
		switch {
		case !uses[uint32(i)]:
		case ok:
			s.Tunnels = append(s.Tunnels, t)
		default:
			s.NoTunnel = true
			r.plan.Warnings = append(r.plan.Warnings, fmt.Sprintf("service %q has no outer source address for %s and drops what goes to its %s backends (set tunnel_sources)", s.Name, s.Forward, family))
		}
	}
}

// addDNATBackends marks where the backends of dnat services listen, so that
// their replies are known. It returns how many places of frontends that takes.
// Of a retired backend the protocol is known from the maps alone.
func (r *round) addDNATBackends() (places int) {
	mark := func(a netip.AddrPort, p model.Protocol) {
		key := maps.VIPKey{Address: a.Addr(), Port: a.Port(), Protocol: p}
		v, frontend := r.plan.Contents.VIPs[key]
		if !frontend {
			places++
		}
		v.DNATBackend = true
		r.plan.Contents.VIPs[key] = v
		r.plan.Contents.Features[0] = maps.Features{DNAT: true}
	}
	for _, list := range [][]ServiceState{r.plan.Services, r.plan.Retired} {
		for _, s := range list {
			if s.Forward != model.DNAT {
				continue
			}
			for _, b := range s.Backends {
				if b.State != api.StateRetired && len(s.Frontends) > 0 {
					mark(b.Address, s.Frontends[0].Protocol)
					continue
				}
				for _, p := range []model.Protocol{model.TCP, model.UDP} {
					if r.Present.VIPs[maps.VIPKey{Address: b.Address.Addr(), Port: b.Address.Port(), Protocol: p}].DNATBackend {
						mark(b.Address, p)
					}
				}
			}
		}
	}
	return places
}

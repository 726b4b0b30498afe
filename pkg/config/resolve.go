package config

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/xlb-io/xlb/pkg/model"
)

// Default returns the settings of a file that gives none. Interfaces is empty:
// a file must name at least one.
func Default() model.Config { return model.Config{Settings: settings} }

// resolve fills what is absent with defaults and checks what only the whole
// file can show.
func (r *reader) resolve(f *rawFile) *model.Config {
	cfg := &model.Config{Settings: r.settings(f)}
	var policyNames []string
	cfg.Policies, policyNames = r.policies(f)
	r.checkDefaults(&f.defaults.v)
	r.checkSubset(&f.defaults.v.placement.subset)
	w := &world{
		reader: r, settings: &cfg.Settings, defaults: &f.defaults.v,
		sources:       len(f.sources.v) > 0 && !slices.ContainsFunc(f.sources.v, func(o opt[netip.Addr]) bool { return !o.ok }),
		tunnelSources: len(f.tunnelSources.v) > 0 && !slices.ContainsFunc(f.tunnelSources.v, func(o opt[netip.Prefix]) bool { return !o.ok }),
		frontends:     map[model.Frontend]place{},
		policyNames:   policyNames,
		zoneWrong:     f.zone.given && !f.zone.ok,
	}
	for i := range f.services.v {
		s := &f.services.v[i]
		if i == cfg.Settings.MaxServices {
			r.fail(s.at, fmt.Sprintf("%d services, but there is room for %d", len(f.services.v), cfg.Settings.MaxServices), "raise max_services")
		}
		if s.v.ok {
			cfg.Services = append(cfg.Services, w.service(s.name, s.at, &s.v.v))
		}
	}
	w.checkDNATBackends()
	if len(r.errs) == 0 {
		w.add(cfg)
	}
	if len(r.networks) > 0 {
		cfg.Networks = r.networks
	}
	return cfg
}

func (r *reader) settings(f *rawFile) model.Settings {
	s := model.Settings{
		Attach:              f.attach.orValue(settings.Attach),
		NextHop:             f.nextHop.orValue(settings.NextHop),
		GatewayMAC:          f.gatewayMAC.v,
		GUEPort:             f.guePort.orValue(settings.GUEPort),
		NATPorts:            f.natPorts.orValue(settings.NATPorts),
		FlowTableSize:       powerOfTwo(f.flowTableSize.orValue(settings.FlowTableSize)),
		TableSize:           f.tableSize.orValue(settings.TableSize),
		MaxServices:         f.maxServices.orValue(settings.MaxServices),
		MaxFrontends:        f.maxFrontends.orValue(settings.MaxFrontends),
		MaxBackends:         f.maxBackends.orValue(settings.MaxBackends),
		MaxSources:          f.maxSources.orValue(settings.MaxSources),
		AffinityTableSize:   f.affinityTable.orValue(settings.AffinityTableSize),
		PolicyRate:          f.policyRate.orValue(settings.PolicyRate),
		PolicyRatePerSource: f.policySource.orValue(settings.PolicyRatePerSource),
		Zone:                f.zone.v,
		Probing:             r.probing(f.probing),
	}
	s.Interfaces = unique(r, f.interfaces.v, "interface")
	if len(f.interfaces.v) == 0 && f.interfaces.at.line > 0 && (f.interfaces.ok || !f.interfaces.given) {
		r.fail(f.interfaces.at, "interfaces: at least one is needed", "for example interfaces: eth0")
	}
	s.Sources = unique(r, f.sources.v, "source")
	if len(f.sources.v) > s.MaxSources {
		r.fail(f.sources.v[s.MaxSources].at, fmt.Sprintf("%d sources, but there is room for %d", len(f.sources.v), s.MaxSources), "raise max_sources")
	}
	s.TunnelSources = r.tunnelSources(f.tunnelSources.v)
	switch gateway := s.NextHop == model.NextHopGatewayMAC; {
	case gateway && !f.gatewayMAC.given:
		r.fail(f.nextHop.at, "next_hop: gateway-mac needs gateway_mac", "add the router's MAC address, for example gateway_mac: 02:00:00:00:00:01")
	case f.gatewayMAC.given && !gateway && (f.nextHop.ok || !f.nextHop.given):
		r.fail(f.gatewayMAC.key, fmt.Sprintf("gateway_mac has no effect with next_hop: %s", s.NextHop), "set next_hop: gateway-mac or remove gateway_mac")
	}
	if !isPrime(s.TableSize) {
		below, above := nearestPrimes(s.TableSize)
		r.fail(f.tableSize.at, fmt.Sprintf("table_size: %d is not a prime", s.TableSize), fmt.Sprintf("the nearest primes are %d and %d", below, above))
	}
	return s
}

// tunnelSources returns the right ones and reports a second one of a family.
func (r *reader) tunnelSources(list []opt[netip.Prefix]) []netip.Prefix {
	var all []netip.Prefix
	seen := map[bool]place{}
	for _, o := range list {
		if !o.ok {
			continue
		}
		is4 := o.v.Addr().Is4()
		if first, double := seen[is4]; double {
			r.fail(o.at.apart(first), fmt.Sprintf("a second %s tunnel source", family(o.v.Addr())), "one of each family; a prefix holds many addresses; first at "+r.locate(first))
			continue
		}
		seen[is4] = o.at
		all = append(all, o.v)
	}
	return all
}

// unique returns the right values of list and reports repeated ones.
func unique[V comparable](r *reader, list []opt[V], what string) []V {
	var all []V
	seen := make(map[V]place, len(list))
	for _, o := range list {
		if !o.ok {
			continue
		}
		if first, double := seen[o.v]; double {
			r.fail(o.at.apart(first), fmt.Sprintf("duplicate %s %v", what, o.v), "first at "+r.locate(first))
			continue
		}
		seen[o.v] = o.at
		all = append(all, o.v)
	}
	return all
}

func powerOfTwo(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}

func isPrime(n int) bool {
	if n < 2 {
		return false
	}
	for d := 2; d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return true
}

// nearestPrimes returns the primes below and above n, which is no prime and
// lies within the range of table_size. Both ends of that range are primes.
func nearestPrimes(n int) (below, above int) {
	for below = n - 1; !isPrime(below); {
		below--
	}
	for above = n + 1; !isPrime(above); {
		above++
	}
	return below, above
}

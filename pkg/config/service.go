package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/xlb-io/xlb/pkg/model"
)

// world is what services share.
type world struct {
	*reader
	settings *model.Settings
	defaults *rawCommon
	// sources: the file gives source addresses, and all could be read: a
	// wrong one may be the one that a service misses.
	sources bool
	// zoneWrong: the file gives a zone that could not be read.
	zoneWrong bool
	// tunnelSources: the same of tunnel sources.
	tunnelSources bool
	// frontends are those seen so far, and where.
	frontends map[model.Frontend]place
	backends  int // of all services so far
	// policyNames are the keys of `policies:`.
	policyNames []string
	// dnat are the backends of dnat services so far.
	dnat []dnatBackend
}

func (w *world) service(name string, at place, raw *rawService) model.Service {
	s := model.Service{
		Name:     name,
		Fail:     raw.common.fail.or(w.defaults.fail).orValue(model.FailOpen),
		Timeouts: resolveTimeouts(&raw.common.timeouts.v, &w.defaults.timeouts.v),
	}
	if f := raw.common.forward.or(w.defaults.forward); f.ok || !f.given {
		s.Forward = f.orValue(model.NAT)
	}
	s.Track = raw.common.track.or(w.defaults.track).orValue(model.TrackAuto)
	w.checkTrack(at, &s, raw)
	w.servicePolicies(&s, raw)
	w.checkHooks(raw.common.watch.onChange)
	certain := w.serviceFrontends(&s, raw)
	w.serviceBackends(&s, raw, certain)
	w.serviceSources(&s, raw, certain)
	s.Selection = w.serviceSelection(at, &s, raw)
	s.Rules = w.serviceRules(at, &s, raw)
	s.Placement, s.Outcomes = w.servicePlacement(at, &s, raw), w.serviceOutcomes(at, &s, raw)
	if len(s.Frontends) > 0 {
		s.Probe = w.serviceProbe(at, &s, &raw.common.probe, &w.defaults.probe)
		s.Role = w.serviceRole(at, &s, raw)
		w.serviceWatch(&s, raw)
		if s.Forward == model.NAT {
			w.checkSource(at, &s)
		}
	}
	return s
}

// serviceFrontends fills s.Frontends. It reports whether all frontends of the
// file could be read, so that more can be concluded from them.
func (w *world) serviceFrontends(s *model.Service, raw *rawService) (certain bool) {
	list := raw.frontends.v
	if len(list) == 0 {
		if raw.frontends.ok || !raw.frontends.given && raw.frontends.at.line > 0 {
			w.fail(raw.frontends.at, "frontends: at least one is needed", "for example frontends: tcp://203.0.113.10:80")
		}
		return false
	}
	certain = true
	for _, o := range list {
		if !o.ok {
			certain = false
			continue
		}
		f := o.v
		if first, double := w.frontends[f]; double {
			w.fail(o.at.apart(first), "duplicate frontend "+frontendText(f), "first at "+w.locate(first))
			continue
		}
		if len(w.frontends) == w.settings.MaxFrontends {
			w.fail(o.at, fmt.Sprintf("more frontends than there is room for: %d", w.settings.MaxFrontends), "raise max_frontends")
		}
		w.frontends[f] = o.at
		s.Frontends = append(s.Frontends, f)
		first := s.Frontends[0]
		if f.Protocol != first.Protocol {
			w.fail(o.at, fmt.Sprintf("frontend %s differs in protocol from %s", frontendText(f), frontendText(first)), "make one service per protocol")
		}
		if s.Forward.RewritesPorts() && f.VIP.Is4() != first.VIP.Is4() {
			w.fail(o.at, fmt.Sprintf("frontend %s is %s, but %s is %s, and %s cannot mix them", frontendText(f), family(f.VIP), frontendText(first), family(first.VIP), s.Forward), "make one service per family, or use forward: l2dsr")
		}
		if keepsPorts(s) && f.Port != first.Port {
			w.fail(o.at, fmt.Sprintf("frontend %s differs in port from %s, and %s cannot rewrite ports", frontendText(f), frontendText(first), s.Forward), "make one service per port, or use forward: nat")
		}
	}
	return certain && len(s.Frontends) > 0
}

// serviceBackends fills s.Backends. What depends on the frontends is checked
// only if they are certain.
func (w *world) serviceBackends(s *model.Service, raw *rawService, certain bool) {
	shared, onePort := sharedPort(s.Frontends)
	seen := make(map[netip.AddrPort]place, len(raw.backends.v))
	own := make(map[netip.AddrPort]bool, len(s.Frontends))
	for _, f := range s.Frontends {
		own[netip.AddrPortFrom(f.VIP, f.Port)] = true
	}
	for _, o := range raw.backends.v {
		b := o.v
		if !o.ok || !b.address.ok {
			continue
		}
		address := b.address.v
		switch {
		case address.Port() != 0 && b.port.given:
			w.fail(b.port.key, "the port is given twice", fmt.Sprintf("address holds %d already", address.Port()))
		case b.port.given && !b.port.ok:
			continue
		case b.port.given:
			address = netip.AddrPortFrom(address.Addr(), b.port.v)
		case address.Port() == 0 && !certain:
			continue
		case address.Port() == 0 && !onePort:
			w.fail(b.address.at, fmt.Sprintf("backend %s has no port, and the frontends have several", address.Addr()), "write "+netip.AddrPortFrom(address.Addr(), s.Frontends[0].Port).String())
			continue
		case address.Port() == 0:
			address = netip.AddrPortFrom(address.Addr(), shared)
		}
		if first, double := seen[address]; double {
			w.fail(b.address.at.apart(first), fmt.Sprintf("duplicate backend %s", address), "first at "+w.locate(first))
			continue
		}
		seen[address] = b.address.at
		if w.backends == w.settings.MaxBackends {
			w.fail(b.address.at, fmt.Sprintf("more backends than there is room for: %d", w.settings.MaxBackends), "raise max_backends")
		}
		w.backends++
		if iface, local := w.local[address.Addr()]; local {
			w.fail(b.address.at, fmt.Sprintf("backend %s is an address of this host (%s): what is sent there never leaves it", address, iface), "a backend is another host")
		}
		if certain {
			w.checkBackend(s, own, address, b.address.at)
		}
		if s.Forward.Tunnels() {
			w.checkTunnelSource(s, address, b.address.at)
		}
		if s.Forward == model.DNAT && len(s.Frontends) > 0 && !own[address] {
			w.dnat = append(w.dnat, dnatBackend{model.Frontend{VIP: address.Addr(), Port: address.Port(), Protocol: s.Frontends[0].Protocol}, b.address.at})
		}
		s.Backends = append(s.Backends, model.Backend{
			Address: address, Weight: b.weight.orValue(1), ServerID: strings.ToLower(b.serverID.v), Zone: b.zone.v, Tags: tagsOf(b.tags.v), Priority: uint8(b.priority.v), Drain: b.drain.v, Critical: b.critical.v,
		})
	}
}

func tagsOf(list []opt[string]) model.Tags {
	var names []string
	for _, o := range list {
		if o.ok {
			names = append(names, o.v)
		}
	}
	return model.TagsOf(names...)
}

// checkBackend checks a backend against the frontends of its service, whose
// addresses and ports are own.
func (w *world) checkBackend(s *model.Service, own map[netip.AddrPort]bool, address netip.AddrPort, at place) {
	first := s.Frontends[0]
	if s.Forward.RewritesPorts() && address.Addr().Is4() != first.VIP.Is4() {
		w.fail(at, fmt.Sprintf("backend %s is %s, but frontend %s is %s, and %s cannot translate between them", address, family(address.Addr()), frontendText(first), family(first.VIP), s.Forward), "make one service per family")
	}
	if keepsPorts(s) && address.Port() != first.Port {
		w.fail(at, fmt.Sprintf("backend %s has another port than frontend %s, and %s cannot rewrite ports", address, frontendText(first), s.Forward), fmt.Sprintf("use port %d, or forward: nat", first.Port))
	}
	if own[address] {
		w.fail(at, fmt.Sprintf("backend %s is a frontend of the same service: packets would go in circles", address), "give the address of the server itself")
	}
}

// keepsPorts says whether all frontends and backends of s must have one port. A
// wrong mode forbids nothing.
func keepsPorts(s *model.Service) bool { return s.Forward != 0 && !s.Forward.RewritesPorts() }

// checkTrack refuses what nat and dnat can not do.
func (w *world) checkTrack(at place, s *model.Service, raw *rawService) {
	if s.Track != model.TrackNever || !s.Forward.RewritesPorts() {
		return
	}
	hint := "remove track, or use forward: l2dsr, ipip or gue"
	if raw.common.track.given {
		at = raw.common.track.at
	} else {
		hint = "set track: auto here"
	}
	w.fail(at, fmt.Sprintf("service %q forwards by %s, which records every flow, for replies need it: track: never is impossible", s.Name, s.Forward), hint)
}

// checkTunnelSource checks that `tunnel_sources`, if given, can serve the family
// of a backend.
func (w *world) checkTunnelSource(s *model.Service, address netip.AddrPort, at place) {
	if !w.tunnelSources || slices.ContainsFunc(w.settings.TunnelSources, func(p netip.Prefix) bool {
		return p.Addr().Is4() == address.Addr().Is4()
	}) {
		return
	}
	what := family(address.Addr())
	w.fail(at, fmt.Sprintf("%s needs an outer source address towards backend %s, but tunnel_sources holds no %s one", s.Forward, address, what), "add an "+what+" address or prefix to tunnel_sources, or remove tunnel_sources")
}

// dnatBackend is where a backend of a dnat service listens.
type dnatBackend struct {
	listens model.Frontend
	at      place
}

// checkDNATBackends checks what needs the frontends of all services.
func (w *world) checkDNATBackends() {
	seen := make(map[model.Frontend]bool, len(w.dnat))
	for _, b := range w.dnat {
		if first, frontend := w.frontends[b.listens]; frontend {
			w.fail(b.at, fmt.Sprintf("backend %s of a dnat service is a frontend too: its replies could not be told from requests", frontendText(b.listens)), "frontend at "+w.locate(first)+"; use forward: nat, or another port")
			continue
		}
		if room := w.settings.MaxFrontends; !seen[b.listens] && len(w.frontends)+len(seen) == room && len(w.frontends) <= room {
			w.fail(b.at, fmt.Sprintf("more frontends and backends of dnat services, which count too, than there is room for: %d", room), "raise max_frontends")
		}
		seen[b.listens] = true
	}
}

// checkSource checks that `sources`, if given, can serve the family of s.
func (w *world) checkSource(at place, s *model.Service) {
	if !w.sources {
		return
	}
	is4 := s.Frontends[0].VIP.Is4()
	for _, a := range w.settings.Sources {
		if a.Is4() == is4 {
			return
		}
	}
	what := family(s.Frontends[0].VIP)
	w.fail(at, fmt.Sprintf("service %q forwards %s by nat, but sources holds no %s address", s.Name, what, what), "add one to sources, or remove sources")
}

func resolveTimeouts(own, defaults *rawTimeouts) model.Timeouts {
	return model.Timeouts{
		TCPSyn:         own.tcpSyn.or(defaults.tcpSyn).orValue(timeouts.TCPSyn),
		TCPEstablished: own.tcpEstablished.or(defaults.tcpEstablished).orValue(timeouts.TCPEstablished),
		TCPFin:         own.tcpFin.or(defaults.tcpFin).orValue(timeouts.TCPFin),
		TCPClosed:      own.tcpClosed.or(defaults.tcpClosed).orValue(timeouts.TCPClosed),
		UDP:            own.udp.or(defaults.udp).orValue(timeouts.UDP),
	}
}

// sharedPort returns the port of all frontends, if it is one.
func sharedPort(frontends []model.Frontend) (uint16, bool) {
	for _, f := range frontends {
		if f.Port != frontends[0].Port {
			return 0, false
		}
	}
	if len(frontends) == 0 {
		return 0, false
	}
	return frontends[0].Port, true
}

// frontendText spells f as the file does.
func frontendText(f model.Frontend) string {
	return fmt.Sprintf("%s://%s", f.Protocol, netip.AddrPortFrom(f.VIP, f.Port))
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

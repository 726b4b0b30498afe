package config

import (
	"fmt"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// checkDefaults reports mistakes of `defaults:` once, whatever services there
// are.
func (r *reader) checkDefaults(d *rawCommon) {
	p := &d.probe.v
	if p.kind.ok {
		// Of type none, services may still choose another, so what times it has an
		// effect.
		r.checkKeys(&p.check, &p.check, p.kind.v)
		if p.kind.v != model.ProbeNone {
			r.checkPlace(p, p.kind.v)
		}
	}
	r.checkProbeTimes(p, &rawProbe{})
	r.checkHooks(d.watch.onChange)
	r.checkEjectTimes(&d.outcomes.eject.v, &rawEject{})
}

// serviceProbe returns the probe of a service from its own keys and those of
// `defaults:`.
func (w *world) serviceProbe(at place, s *model.Service, own, inherited *opt[rawProbe]) model.Probe {
	proto := s.Frontends[0].Protocol
	if own.given && !own.ok || inherited.given && !inherited.ok {
		return model.Probe{}
	}
	p, d := &own.v, &inherited.v
	named := p.kind.or(d.kind)
	if named.given && !named.ok {
		return model.Probe{}
	}
	kind := named.orValue(probe.Type)
	if proto == model.UDP && !p.kind.given && !p.port.or(d.port).given {
		if keys := p.keys(); len(keys) > 0 {
			w.fail(keys[0].at, fmt.Sprintf("probe: %s has no effect: the service is UDP, and its probe has neither a type nor a port", keys[0].name), "add type: and, if it is not the backends' own, port:")
		}
		return model.Probe{Type: model.ProbeNone}
	}
	if kind == model.ProbeNone {
		for _, k := range p.keys() {
			w.fail(k.at, fmt.Sprintf("probe: %s has no effect with type none", k.name), "give another type or remove "+k.name)
		}
		return model.Probe{Type: kind}
	}
	if own.given {
		at = own.at
	}
	check := p.check.inherited(&d.check)
	w.checkKeys(&p.check, &check, kind)
	w.checkPlace(p, kind)
	w.checkNeeds(at, &check, kind)
	w.checkPairs(at, &check, kind)
	result := w.probeOf(kind, p, d, &check)
	if result.Via == model.ViaVIP {
		w.checkProbeVia(at, s, p, result)
	}
	return result
}

// probeOf is a service's probe of that type; check holds what is inherited too.
func (w *world) probeOf(kind model.ProbeType, p, d *rawProbe, check *rawCheck) model.Probe {
	if p.interval.given || p.timeout.given || len(p.pace.keys()) > 0 {
		w.checkProbeTimes(p, d)
	}
	interval, timeout := probeTimes(p, d)
	result := model.Probe{
		Type:     kind,
		Via:      probe.Via,
		Address:  p.address.or(d.address).v,
		Interval: interval,
		Timeout:  timeout,
		Rise:     p.rise.or(d.rise).orValue(probe.Rise),
		Fall:     p.fall.or(d.fall).orValue(probe.Fall),
	}
	p.pace.or(d.pace).into(&result)
	if kind != portlessType {
		result.Port = p.port.or(d.port).v
	}
	if goesVia(kind) {
		result.Via = p.via.or(d.via).orValue(probe.Via)
	}
	w.into(&result, check)
	if kind == model.ProbePolicy && check.policy.ok {
		w.checkPolicyName(check.policy.at, check.policy.v)
	}
	return result
}

// goesVia tells whether a probe of that type can take the way of the traffic: what
// runs a program has none, and the data plane sends no ICMP.
func goesVia(kind model.ProbeType) bool { return kind != model.ProbeICMP && kind != model.ProbeExec }

// checkPlace refuses the keys of where to probe that have no effect.
func (r *reader) checkPlace(p *rawProbe, kind model.ProbeType) {
	if p.port.given && kind == portlessType {
		r.fail(p.port.at, fmt.Sprintf("probe: port has no effect with type %s", kind), "remove port, or use another type")
	}
	if p.via.given && !goesVia(kind) {
		r.fail(p.via.key, fmt.Sprintf("probe: via has no effect with type %s", kind), "remove via, or use another type")
	}
}

// checkProbeVia refuses the way via the VIP where the backends do not hold it, and
// where another host is probed.
func (r *reader) checkProbeVia(at place, s *model.Service, own *rawProbe, p model.Probe) {
	if s.Forward.RewritesPorts() {
		hint := "remove via, or use forward: l2dsr, ipip or gue"
		if own.via.given {
			at = own.via.at
		} else {
			hint = "set probe: {via: direct} here"
		}
		r.fail(at, fmt.Sprintf("probe: service %q forwards by %s, so that its backends do not hold the VIP: via: vip is impossible", s.Name, s.Forward), hint)
	}
	if p.Address.IsValid() {
		if own.address.given {
			at = own.address.at
		}
		r.fail(at, "probe: address has no effect with via: vip, which probes the VIP", "remove address, or set via: direct")
	}
}

// probeTimes returns interval and timeout; a timeout that nobody gave yields
// to a shorter interval, usual or failing.
func probeTimes(own, inherited *rawProbe) (interval, timeout time.Duration) {
	interval = own.interval.or(inherited.interval).orValue(probe.Interval)
	shortest := min(interval, own.pace.or(inherited.pace).intervalFailing.orValue(interval))
	timeout = own.timeout.or(inherited.timeout).orValue(min(probe.Timeout, shortest))
	return interval, timeout
}

// checkProbeTimes reports a timeout beyond an interval, and a back-off below one, at
// the key that own has.
func (r *reader) checkProbeTimes(own, inherited *rawProbe) {
	pace := own.pace.or(inherited.pace)
	for _, o := range []opt[time.Duration]{own.interval.or(inherited.interval), own.timeout.or(inherited.timeout), pace.intervalFailing, pace.backoffMax} {
		if o.given && !o.ok {
			return
		}
	}
	interval, timeout := probeTimes(own, inherited)
	result := model.Probe{Interval: interval}
	pace.into(&result)
	r.checkBackoff(own, result)
	name, limit, at := "interval", interval, own.interval.at
	if f := pace.intervalFailing; f.ok && f.v < interval {
		name, limit = "interval_failing", f.v
		if own.pace.intervalFailing.given {
			at = f.at
		}
	}
	if timeout <= limit {
		return
	}
	if own.timeout.given {
		at = own.timeout.at
	}
	r.fail(at, fmt.Sprintf("probe: timeout %s is longer than %s %s", model.DurationText(timeout), name, model.DurationText(limit)), fmt.Sprintf("set timeout to at most %s, or a longer interval", model.DurationText(limit)))
}

// keyAt is a key that the file gives.
type keyAt struct {
	name string
	at   place
}

// keys returns the keys given, except type.
func (p *rawProbe) keys() []keyAt {
	return append(given(
		mark("via", p.via), mark("address", p.address), mark("port", p.port), mark("interval", p.interval), mark("timeout", p.timeout),
		mark("rise", p.rise), mark("fall", p.fall),
	), append(p.pace.keys(), p.check.given()...)...)
}

// mark names o, or is empty if the file does not give it.
func mark[V any](name string, o opt[V]) keyAt {
	if !o.given {
		return keyAt{}
	}
	return keyAt{name, o.key}
}

func given(keys ...keyAt) []keyAt {
	var list []keyAt
	for _, k := range keys {
		if k.name != "" {
			list = append(list, k)
		}
	}
	return list
}

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
	if p.kind.ok && p.kind.v != model.ProbeNone {
		r.checkProbeKeys(p, p.kind.v)
	} else if p.kind.ok {
		// Services may still choose a type, so what times it has an effect.
		r.refuseKeys(p.httpKeys(), model.ProbeNone)
	}
	r.checkProbeTimes(p, &rawProbe{})
	r.checkHooks(d.watch.onChange)
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
		kind = model.ProbeNone
		if keys := p.keys(); len(keys) > 0 {
			w.fail(keys[0].at, fmt.Sprintf("probe: %s has no effect: the service is UDP, and its probe has neither a type nor a port", keys[0].name), "add type: and, if it is not the backends' own, port:")
			return model.Probe{Type: kind}
		}
	}
	w.checkProbeKeys(p, kind)
	if kind == model.ProbeNone {
		return model.Probe{Type: kind}
	}
	via := p.via.or(d.via).orValue(probe.Via)
	w.checkProbeVia(at, s, p, via)
	if p.interval.given || p.timeout.given || len(p.pace.keys()) > 0 {
		w.checkProbeTimes(p, d)
	}
	interval, timeout := probeTimes(p, d)
	result := model.Probe{
		Type:     kind,
		Via:      via,
		Port:     p.port.or(d.port).v,
		Interval: interval,
		Timeout:  timeout,
		Rise:     p.rise.or(d.rise).orValue(probe.Rise),
		Fall:     p.fall.or(d.fall).orValue(probe.Fall),
	}
	p.pace.or(d.pace).into(&result)
	switch kind {
	case model.ProbeTCP:
		return result
	case model.ProbePolicy:
		result.Policy = w.probePolicy(at, p.policy.or(d.policy), own)
		return result
	}
	result.HTTP = model.HTTPProbe{
		Method: p.method.or(d.method).orValue(probe.HTTP.Method),
		Path:   p.path.or(d.path).orValue(probe.HTTP.Path),
		Host:   p.host.or(d.host).v,
		Body:   p.body.or(d.body).v,
		Verify: kind == model.ProbeHTTPS && p.verify.or(d.verify).v,
	}
	for _, code := range p.status.or(d.status).v {
		if code.ok {
			result.HTTP.Status = append(result.HTTP.Status, code.v)
		}
	}
	return result
}

// probePolicy is the policy of a probe of that type.
func (w *world) probePolicy(at place, name opt[string], own *opt[rawProbe]) string {
	switch {
	case name.ok:
		w.checkPolicyName(name.at, name.v)
	case !name.given:
		if own.given {
			at = own.at
		}
		w.fail(at, "probe: type policy needs policy", "the name of one of policies:, for example policy: line-probe")
	}
	return name.v
}

// checkProbeVia refuses the way via the VIP where the backends do not hold it.
func (r *reader) checkProbeVia(at place, s *model.Service, own *rawProbe, via model.ProbeVia) {
	if via != model.ViaVIP || !s.Forward.RewritesPorts() {
		return
	}
	hint := "remove via, or use forward: l2dsr, ipip or gue"
	if own.via.given {
		at = own.via.at
	} else {
		hint = "set probe: {via: direct} here"
	}
	r.fail(at, fmt.Sprintf("probe: service %q forwards by %s, so that its backends do not hold the VIP: via: vip is impossible", s.Name, s.Forward), hint)
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
	r.fail(at, fmt.Sprintf("probe: timeout %s is longer than %s %s", short(timeout), name, short(limit)), fmt.Sprintf("set timeout to at most %s, or a longer interval", short(limit)))
}

// checkProbeKeys refuses keys without effect on a probe of the given type.
func (r *reader) checkProbeKeys(p *rawProbe, kind model.ProbeType) {
	switch kind {
	case model.ProbeNone:
		r.refuseKeys(p.keys(), kind)
	case model.ProbeTCP:
		r.refuseKeys(append(p.httpKeys(), p.policyKeys()...), kind)
	case model.ProbePolicy:
		r.refuseKeys(p.httpKeys(), kind)
	case model.ProbeHTTP:
		if p.verify.given {
			r.fail(p.verify.key, "probe: verify has no effect with type http", "use type: https or remove verify")
		}
		r.refuseKeys(p.policyKeys(), kind)
	case model.ProbeHTTPS:
		r.refuseKeys(p.policyKeys(), kind)
	}
}

func (r *reader) refuseKeys(keys []keyAt, kind model.ProbeType) {
	for _, k := range keys {
		hint := "use type: http or remove " + k.name
		if k.name == "policy" {
			hint = "use type: policy or remove policy"
		}
		if kind == model.ProbeNone {
			hint = "give another type or remove " + k.name
		}
		r.fail(k.at, fmt.Sprintf("probe: %s has no effect with type %s", k.name, kind), hint)
	}
}

// keyAt is a key that the file gives.
type keyAt struct {
	name string
	at   place
}

// keys returns the keys given, except type.
func (p *rawProbe) keys() []keyAt {
	return append(given(
		mark("via", p.via), mark("port", p.port), mark("interval", p.interval), mark("timeout", p.timeout), mark("rise", p.rise), mark("fall", p.fall),
	), append(append(p.pace.keys(), p.httpKeys()...), p.policyKeys()...)...)
}

func (p *rawProbe) policyKeys() []keyAt { return given(mark("policy", p.policy)) }

func (p *rawProbe) httpKeys() []keyAt {
	return given(
		mark("method", p.method), mark("path", p.path), mark("host", p.host), mark("status", p.status), mark("body", p.body), mark("verify", p.verify),
	)
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

package config

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/rules"
)

// serviceRules is which packets are taken, which backends they may have, and how
// many new flows there may be.
func (w *world) serviceRules(at place, s *model.Service, raw *rawService) model.Rules {
	own, inherited := &raw.common.rules, &w.defaults.rules
	out := model.Rules{
		Allow:          w.origins(own.allow.or(inherited.allow)),
		Deny:           w.origins(own.deny.or(inherited.deny)),
		MaxConnections: own.maxConnections.or(inherited.maxConnections).v,
	}
	w.steering(&out, own.steer.or(inherited.steer))
	w.rates(&out, own, inherited)
	w.checkRecords(at, s, &out, raw)
	return out
}

// origins are the right ones of a list; nil if there is no list. Its files are
// read.
func (r *reader) origins(list opt[[]opt[model.Origin]]) []model.Origin {
	if !list.given || !list.ok {
		return nil
	}
	out := make([]model.Origin, 0, len(list.v))
	for _, o := range list.v {
		if !o.ok {
			continue
		}
		one := o.v
		if one.File != "" {
			one.File = r.fromHere(one.File)
			if rules.IsDatabase(one.File) {
				r.fail(o.at, fmt.Sprintf("%s is a database, not a list of prefixes", one.File), "use it in steer: as geoip:")
				continue
			}
			r.readNetworks(o.at, one.File)
		}
		out = append(out, one)
	}
	return out
}

// readNetworks reads a file that rules name, if it was not read before.
func (r *reader) readNetworks(at place, path string) {
	if r.networks[path] != nil {
		return
	}
	n, err := rules.Read(path)
	if err != nil {
		hint := "correct the file; xlb takes it as a whole or not at all"
		if errors.Is(err, fs.ErrNotExist) {
			hint = "names are relative to the configuration file's directory"
		}
		r.fail(at, err.Error(), hint)
		return
	}
	r.networks[path] = n
}

// steering fills Steer and Default.
func (r *reader) steering(out *model.Rules, list opt[[]opt[rawSteer]]) {
	for i, o := range list.v {
		if !o.ok {
			continue
		}
		raw := &o.v
		if raw.defaultTo.given {
			r.steerDefault(out, o, i == len(list.v)-1)
			continue
		}
		one := model.Steer{From: r.origins(raw.from), To: r.subset(raw.to)}
		switch {
		case raw.from.given == raw.geoip.given:
			r.fail(o.at, "an element of steer has either from: or geoip:", "or default: alone, in the last one")
			continue
		case !raw.to.given:
			r.fail(o.at, "to is missing in steer", "for example to: {zone: eu}")
			continue
		case raw.from.given && (raw.countries.given || raw.continents.given):
			r.fail(o.at, "country and continent have no effect on from:", "they belong to geoip:")
			continue
		case raw.geoip.given:
			r.steerByPlace(&one, o.at, raw)
		}
		out.Steer = append(out.Steer, one)
	}
}

func (r *reader) steerDefault(out *model.Rules, o opt[rawSteer], last bool) {
	raw := &o.v
	if raw.from.given || raw.geoip.given || raw.countries.given || raw.continents.given || raw.to.given {
		r.fail(o.at, "default stands alone in an element of steer", "its value is the subset: default: {zone: us}")
		return
	}
	if !last {
		r.fail(o.at, "default is for the sources that no element before it holds", "make it the last element of steer")
	}
	out.Default = r.subset(raw.defaultTo)
}

func (r *reader) steerByPlace(one *model.Steer, at place, raw *rawSteer) {
	for _, c := range raw.countries.v {
		if c.ok && !rules.KnownCountry(c.v) {
			hint := "ISO 3166-1, for example DE or US"
			if c.v == "UK" {
				hint = "the United Kingdom is GB"
			}
			r.fail(c.at, fmt.Sprintf("%s is no country", c.v), hint)
			continue
		}
		one.Countries = append(one.Countries, c.v)
	}
	for _, c := range raw.continents.v {
		if c.ok {
			one.Continents = append(one.Continents, c.v)
		}
	}
	if len(raw.countries.v)+len(raw.continents.v) == 0 {
		r.fail(at, "geoip without country or continent steers nobody", "for example country: [DE, FR]")
	}
	if !raw.geoip.ok {
		return
	}
	one.GeoIP = r.fromHere(raw.geoip.v)
	if !rules.IsDatabase(one.GeoIP) {
		r.fail(raw.geoip.at, fmt.Sprintf("%s is no MaxMind database", raw.geoip.v), "its name ends in .mmdb")
		return
	}
	r.readNetworks(raw.geoip.at, one.GeoIP)
}

// subset reports one that would be all backends.
func (r *reader) subset(o opt[rawSubset]) model.Subset {
	if o.ok && !o.v.tag.given && !o.v.zone.given {
		r.fail(o.at, "a subset names a tag, a zone, or both", "for example {zone: eu}")
	}
	return model.Subset{Tag: o.v.tag.v, Zone: o.v.zone.v}
}

// rates fills the limits, key by key from the service and from defaults.
func (r *reader) rates(out *model.Rules, own, inherited *rawRules) {
	rate := func(at opt[int], key string, perSecond, burst opt[int]) model.Rate {
		if burst.given && !perSecond.given {
			r.fail(at.key, fmt.Sprintf("%s: burst has no effect without per_second", key), "add per_second")
		}
		if perSecond.v == 0 {
			return model.Rate{}
		}
		return model.Rate{PerSecond: perSecond.v, Burst: burst.orValue(perSecond.v)}
	}
	all, allInherited := &own.rate.v, &inherited.rate.v
	out.Rate = rate(all.burst, "rate", all.perSecond.or(allInherited.perSecond), all.burst.or(allInherited.burst))
	each, eachInherited := &own.ratePerSource.v, &inherited.ratePerSource.v
	out.RatePerSource = rate(each.burst, "rate_per_source", each.perSecond.or(eachInherited.perSecond), each.burst.or(eachInherited.burst))
	if out.RatePerSource != (model.Rate{}) {
		out.SourceIPv4 = each.ipv4.or(eachInherited.ipv4).orValue(sourceIPv4)
		out.SourceIPv6 = each.ipv6.or(eachInherited.ipv6).orValue(sourceIPv6)
	} else if !each.perSecond.given && (each.ipv4.given || each.ipv6.given) {
		r.fail(own.ratePerSource.at, "rate_per_source: ipv4 and ipv6 have no effect without per_second", "add per_second")
	}
}

// checkRecords refuses what needs flows to be recorded where none are.
func (w *world) checkRecords(at place, s *model.Service, out *model.Rules, raw *rawService) {
	if s.Selection.OnePacket && out.Limits() {
		w.fail(or(raw.common.selection.onePacket.at, raw.common.selection.onePacket.given, at), fmt.Sprintf("service %q: a limit tells a new UDP flow by its record, and ops has none", s.Name), "remove ops, or rate, rate_per_source and max_connections")
		return
	}
	if s.Track != model.TrackNever || s.Forward.RewritesPorts() || len(s.Frontends) == 0 {
		return
	}
	what := ""
	switch {
	case out.MaxConnections > 0:
		what = "max_connections, which counts recorded flows"
	case s.Frontends[0].Protocol != model.UDP:
	case out.Rate.PerSecond > 0:
		what = "rate, which tells a new UDP flow by its record"
	case out.RatePerSource.PerSecond > 0:
		what = "rate_per_source, which tells a new UDP flow by its record"
	}
	if what == "" {
		return
	}
	if raw.common.track.given {
		at = raw.common.track.at
	}
	w.fail(at, fmt.Sprintf("service %q has %s: track: never is impossible", s.Name, what), "remove track, or the limit")
}

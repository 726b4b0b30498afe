package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/xlb-io/xlb/pkg/model"
)

// rawPlacement is which backends take part, as it is written.
type (
	rawPlacement struct {
		subset    opt[rawSubset]
		tiers     opt[rawTiers]
		zones     opt[rawZones]
		panic     opt[int]
		slowStart opt[time.Duration]
		drain     opt[time.Duration]
	}
	rawTiers struct {
		minHealthy  opt[int]
		whenLow     opt[model.WhenLow]
		returnAfter opt[time.Duration]
	}
	rawZones struct {
		prefer, share opt[string]
		minHealthy    opt[int]
	}
)

// zoneMinHealthy is the default of `zones: {min_healthy: …}`.
const zoneMinHealthy = 50

var percentKind = withSign(textOf("percentage", "`1%` to `100%`", `^[0-9]{1,3}%$`, func(s string) (int, *problem) {
	n, err := strconv.Atoi(strings.TrimSuffix(s, "%"))
	switch {
	case err != nil || !strings.HasSuffix(s, "%"):
		return 0, &problem{quote(s) + " is not a percentage", "for example 50%"}
	case n < 1 || n > 100:
		return 0, &problem{s + " is out of range", "1% to 100%"}
	}
	return n, nil
}))

// withSign says of a plain number what it lacks.
func withSign(percentage kind[int]) kind[int] {
	parse := percentage.parse
	percentage.parse = func(r *reader, n ast.Node) (int, bool) {
		if number := n.GetToken().Value; isScalar(n) && decimal.MatchString(number) && number[0] != '-' {
			r.wrong(n, number+" has no percent sign", "write "+number+"%")
			return 0, false
		}
		return parse(r, n)
	}
	return percentage
}

// longKind has a value that takes back what `defaults:` says: 0s.
var longKind = duration(0, 168*time.Hour, time.Second)

var placementFields = []field[rawCommon]{
	of("subset", subsetKind, func(c *rawCommon) *opt[rawSubset] { return &c.placement.subset }, about{
		doc: "Only the backends with this tag, of this zone, or both take part; the others get no new flows.", defDoc: "all", example: "{tag: ssd}"}),
	of("tiers", object("tiers", "When another tier of backends serves than the lowest; see docs/selection.md.",
		of("min_healthy", percentKind, func(t *rawTiers) *opt[int] { return &t.minHealthy }, about{
			doc: "A tier serves while at least this share of its backends, by weight, is usable.", defDoc: "one usable backend is enough", example: "50%"}),
		of("when_low", enum(model.LowSwitch, model.LowAdd), func(t *rawTiers) *opt[model.WhenLow] { return &t.whenLow }, about{
			doc: "What becomes of a tier with a smaller share: `switch` leaves it to the next tier, `add` uses what is left of it beside the next tier.", def: model.LowSwitch, example: "add"}),
		of("return_after", longKind, func(t *rawTiers) *opt[time.Duration] { return &t.returnAfter }, about{
			doc: "A tier takes back what the next one took over when it was good for so long.", defDoc: "`0s`, at once", example: "30s"}),
	), func(c *rawCommon) *opt[rawTiers] { return &c.placement.tiers }, about{
		doc: "Failing over between tiers (`priority` of backends), and back.", example: "{min_healthy: 50%, return_after: 30s}"}),
	of("zones", object("zones", "How new flows are spread over the zones of backends; see docs/selection.md.",
		of("prefer", enum("none", "own"), func(z *rawZones) *opt[string] { return &z.prefer }, about{
			doc: "`own` keeps new flows in the balancer's own `zone` as far as that is healthy; `none` knows no own zone.", def: "none", example: "own"}),
		of("share", enum("weight", "equal"), func(z *rawZones) *opt[string] { return &z.share }, about{
			doc: "`weight` spreads by the backends' weights, whatever their zones; `equal` gives each zone the same share, whatever its backends.", def: "weight", example: "equal"}),
		of("min_healthy", percentKind, func(z *rawZones) *opt[int] { return &z.minHealthy }, about{
			doc: "The share of a zone's backends, by weight, that must be usable for it to get all of its share. With less it gets less in proportion, and the other zones the rest.", defDoc: "`50%`", example: "70%"}),
	), func(c *rawCommon) *opt[rawZones] { return &c.placement.zones }, about{
		doc: "Preferring the balancer's own zone, or equal shares of zones.", example: "{share: equal}"}),
	of("panic_threshold", percentKind, func(c *rawCommon) *opt[int] { return &c.placement.panic }, about{
		doc: "When a smaller share of the backends that serve, by weight, is usable, the unhealthy and ejected ones are used too: rather some lost flows than a few backends that drown. Needs `fail: open`.", defDoc: "only when none is usable", example: "30%"}),
	of("slow_start", longKind, func(c *rawCommon) *opt[time.Duration] { return &c.placement.slowStart }, about{
		doc: "A backend that came up, or came back, begins with a tenth of its weight and has all of it after this time, in ten steps.", defDoc: "`0s`, all at once", example: "60s"}),
	of("drain_timeout", longKind, func(c *rawCommon) *opt[time.Duration] { return &c.placement.drain }, about{
		doc: "How long a backend that drains keeps its flows; after that they move to others.", defDoc: "`0s`, until they end", example: "10m"}),
}

// servicePlacement is which backends take part.
func (w *world) servicePlacement(at place, s *model.Service, raw *rawService) model.Placement {
	own, inherited := &raw.common.placement, &w.defaults.placement
	p := model.Placement{
		PanicThreshold: own.panic.or(inherited.panic).v,
		SlowStart:      own.slowStart.or(inherited.slowStart).v,
		DrainTimeout:   own.drain.or(inherited.drain).v,
		Tiers: model.Tiers{
			MinHealthy:  own.tiers.v.minHealthy.or(inherited.tiers.v.minHealthy).v,
			WhenLow:     own.tiers.v.whenLow.or(inherited.tiers.v.whenLow).v,
			ReturnAfter: own.tiers.v.returnAfter.or(inherited.tiers.v.returnAfter).v,
		},
	}
	if subset := own.subset.or(inherited.subset); subset.ok {
		w.checkSubset(&own.subset)
		p.Subset = model.Subset{Tag: subset.v.tag.v, Zone: subset.v.zone.v}
	}
	p.Zones = w.serviceZones(at, s, &own.zones.v, &inherited.zones.v)
	if low := own.tiers.v.whenLow; low.ok && low.v != model.LowSwitch && p.Tiers.MinHealthy == 0 && p.PanicThreshold == 0 {
		w.fail(low.key, fmt.Sprintf("tiers: when_low: %s has no effect without min_healthy: a tier with one usable backend is good", low.v), "add min_healthy, for example 50%")
	}
	if p.PanicThreshold > 0 && s.Fail == model.FailClosed {
		hint := "remove one of them"
		if own.panic.given {
			at = own.panic.at
		} else if fail := raw.common.fail; fail.given {
			at, hint = fail.at, "set fail: open; defaults: has panic_threshold"
		}
		w.fail(at, fmt.Sprintf("service %q has panic_threshold, which uses unhealthy backends, and fail: closed, which never does", s.Name), hint)
	}
	return p
}

// checkSubset refuses a subset that names nothing.
func (r *reader) checkSubset(o *opt[rawSubset]) {
	if o.ok && !o.v.tag.given && !o.v.zone.given {
		r.fail(o.at, "subset names neither a tag nor a zone", "for example {tag: ssd}")
	}
}

func (w *world) serviceZones(at place, s *model.Service, own, inherited *rawZones) model.Zones {
	prefer, share, least := own.prefer.or(inherited.prefer), own.share.or(inherited.share), own.minHealthy.or(inherited.minHealthy)
	z := model.Zones{PreferOwn: prefer.v == "own", EqualShare: share.v == "equal"}
	if z.PreferOwn && w.settings.Zone == "" && !w.zoneWrong {
		if own.prefer.given {
			at = own.prefer.at
		}
		w.fail(at, fmt.Sprintf("service %q prefers the balancer's own zone, but which one that is is not said", s.Name), "add zone: to the file, for example zone: eu-1a")
	}
	if z.PreferOwn || z.EqualShare {
		z.MinHealthy = least.orValue(zoneMinHealthy)
	} else if own.minHealthy.given && (prefer.ok || !prefer.given) && (share.ok || !share.given) {
		w.fail(own.minHealthy.key, "zones: min_healthy has no effect without prefer: own or share: equal", "add one of them or remove min_healthy")
	}
	return z
}

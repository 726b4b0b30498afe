package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/xlb-io/xlb/pkg/model"
)

type (
	// rawProbing is how probes are run, as it is written.
	rawProbing struct {
		strategy opt[model.ProbeStrategy]
		workers  opt[int]
	}
	// rawPace is when a probe is repeated, beside its interval.
	rawPace struct {
		jitter          opt[int]
		intervalFailing opt[time.Duration]
		backoffMax      opt[time.Duration]
	}
)

var strategyKind = enum(model.ProbePool, model.ProbeSerial, model.ProbeUnlimited)

var probingKind = shorthand(strategyKind,
	object("probes", "The long form of how probes are run.",
		of("strategy", strategyKind, func(p *rawProbing) *opt[model.ProbeStrategy] { return &p.strategy }, about{
			doc: "`pool` runs up to `workers` probes at the same time; those that are due longest go first, and the log says when they start late.\n" +
				"`serial` runs one after the other, so that a backend that does not answer delays all others.\n" +
				"`unlimited` lets none wait; each that runs takes a socket and some 10 KB.",
			def: settings.Probing.Strategy, example: "unlimited"}),
		of("workers", integer(1, 65536), func(p *rawProbing) *opt[int] { return &p.workers }, about{
			doc: "Size of the pool. A probe of a backend that is silent holds its place for its `timeout`: as many as may be silent at the same time, times `timeout` over `interval`, are enough.",
			def: settings.Probing.Workers, example: "4096"}),
	),
	func(s opt[model.ProbeStrategy]) rawProbing { return rawProbing{strategy: s} })

var paceFields = []field[rawPace]{
	of("jitter", percentUpTo(50), func(p *rawPace) *opt[int] { return &p.jitter }, about{
		doc: "By how much of it each interval is longer or shorter, at random, so that the probes of many balancers do not come at once.", defDoc: fmt.Sprintf("`%d%%`", probe.Jitter), example: "25%"}),
	of("interval_failing", duration(100*time.Millisecond, time.Hour, time.Millisecond), func(p *rawPace) *opt[time.Duration] { return &p.intervalFailing }, about{
		doc: "The interval from the first failure on, until the backend is healthy and passes: shorter, to be sure sooner, or longer, to spare a server that starts.", defDoc: "`interval`", example: "500ms"}),
	of("backoff_max", duration(100*time.Millisecond, 24*time.Hour, time.Millisecond), func(p *rawPace) *opt[time.Duration] { return &p.backoffMax }, about{
		doc: "While a backend is unhealthy, each failure doubles the interval, up to this. A success ends that.", defDoc: "the interval stays", example: "1m"}),
}

// percentUpTo is a share like 25%.
func percentUpTo(most int) kind[int] {
	limits, exp := fmt.Sprintf("0%% to %d%%", most), regexp.MustCompile(percentPattern)
	return kind[int]{
		shape: shape{name: "percentage", limits: limits, json: map[string]any{"type": "string", "pattern": percentPattern}},
		parse: func(r *reader, n ast.Node) (int, bool) {
			s, ok := wantText(r, n, "percentage")
			if !ok {
				return 0, false
			}
			v, err := strconv.Atoi(strings.TrimSuffix(s, "%"))
			switch {
			case err != nil || !exp.MatchString(s):
				r.wrong(n, quote(s)+" is not a percentage", "for example 10%")
			case v > most:
				r.wrong(n, s+" is out of range", limits)
			default:
				return v, true
			}
			return 0, false
		},
	}
}

const percentPattern = `^(0|[1-9][0-9]?|100)%$`

// probing is how probes are run.
func (r *reader) probing(raw opt[rawProbing]) model.Probing {
	p := model.Probing{
		Strategy: raw.v.strategy.orValue(settings.Probing.Strategy),
		Workers:  raw.v.workers.orValue(settings.Probing.Workers),
	}
	if raw.v.workers.given && p.Strategy != model.ProbePool {
		r.fail(raw.v.workers.key, fmt.Sprintf("probes: workers has no effect with strategy %s", p.Strategy), "use strategy: pool or remove workers")
	}
	return p
}

// or is p with what it lacks from d.
func (p rawPace) or(d rawPace) rawPace {
	return rawPace{p.jitter.or(d.jitter), p.intervalFailing.or(d.intervalFailing), p.backoffMax.or(d.backoffMax)}
}

// keys are those that the file gives.
func (p rawPace) keys() []keyAt {
	return given(mark("jitter", p.jitter), mark("interval_failing", p.intervalFailing), mark("backoff_max", p.backoffMax))
}

// into fills what p says of a probe.
func (p rawPace) into(to *model.Probe) {
	to.Jitter, to.IntervalFailing, to.BackoffMax = p.jitter.orValue(probe.Jitter), p.intervalFailing.v, p.backoffMax.v
}

// checkBackoff reports a back-off that ends below where it begins, at the key that
// own has.
func (r *reader) checkBackoff(own *rawProbe, p model.Probe) {
	if p.BackoffMax == 0 || p.BackoffMax >= p.Pause(false, false, 0) {
		return
	}
	begin := p.Pause(false, false, 0)
	at := own.interval.at
	switch {
	case own.pace.backoffMax.given:
		at = own.pace.backoffMax.at
	case own.pace.intervalFailing.given:
		at = own.pace.intervalFailing.at
	}
	r.fail(at, fmt.Sprintf("probe: backoff_max %s is shorter than the interval that it begins with, %s", model.DurationText(p.BackoffMax), model.DurationText(begin)), "set backoff_max to at least "+model.DurationText(begin))
}

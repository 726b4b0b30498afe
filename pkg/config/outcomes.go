package config

import (
	"fmt"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// rawOutcomes is what becomes of connections that backends refuse, as it is written.
type rawOutcomes struct {
	count   opt[bool]
	eject   opt[rawEject]
	retries opt[int]
}

type rawEject struct {
	on                               opt[bool] // of the short form
	failures, resets                 opt[int]
	minAttempts, consecutive, trials opt[int]
	window, time, maxTime            opt[time.Duration]
	maxEjected, trialWeight          opt[int]
}

// The defaults of what `eject: true` means.
var eject = model.Eject{
	On: true, Failures: 50, MinAttempts: 20, Window: 10 * time.Second, Consecutive: 5,
	Time: 30 * time.Second, MaxTime: 10 * time.Minute, MaxEjected: 50, Trials: 5, TrialWeight: 10,
}

// leastRetryTimeout is longer than the longest pause before a SYN that [model.MaxRetries]
// allows to go elsewhere: 4 s after the one before.
const leastRetryTimeout = 5 * time.Second

var ejectTime = duration(time.Second, time.Hour, time.Second)

var ejectKind = shorthand(boolean,
	object("eject", "When a backend whose connections fail is ejected, and how it returns. The short form is `true` for the defaults, or `false`.",
		of("failures", percentKind, func(e *rawEject) *opt[int] { return &e.failures }, about{
			doc: "The share of the attempts to connect within `window` that must fail, of at least `min_attempts`.", defDoc: percentDoc(eject.Failures), example: "30%"}),
		of("min_attempts", integer(1, 1_000_000), func(e *rawEject) *opt[int] { return &e.minAttempts }, about{
			doc: "Fewer attempts within `window` than these say nothing about shares.", def: eject.MinAttempts, example: "100"}),
		of("window", duration(time.Second, 5*time.Minute, time.Second), func(e *rawEject) *opt[time.Duration] { return &e.window }, about{
			doc: "How far back is looked.", def: eject.Window, example: "30s"}),
		of("consecutive", integer(0, 1_000_000), func(e *rawEject) *opt[int] { return &e.consecutive }, about{
			doc: "Failed attempts without a successful one between them that eject, whatever the share; `0`: they do not.", def: eject.Consecutive, example: "10"}),
		of("resets", percentKind, func(e *rawEject) *opt[int] { return &e.resets }, about{
			doc: "The share of the connections answered within `window`, of at least `min_attempts`, that the backend must reset while neither side has closed. `nat` and `dnat` only: others see no replies.", defDoc: "resets do not eject", example: "50%"}),
		of("time", ejectTime, func(e *rawEject) *opt[time.Duration] { return &e.time }, about{
			doc: "How long the first ejection lasts. Each further one lasts twice as long as the one before.", def: eject.Time, example: "10s"}),
		of("max_time", duration(time.Second, 24*time.Hour, time.Second), func(e *rawEject) *opt[time.Duration] { return &e.maxTime }, about{
			doc: "The longest ejection. What has served for this long without another begins anew with `time`.", def: eject.MaxTime, example: "1h"}),
		of("max_ejected", percentKind, func(e *rawEject) *opt[int] { return &e.maxEjected }, about{
			doc: "How many of the backends that could serve may be ejected at a time, rounded down. With the default one of two, and never the only one.", defDoc: percentDoc(eject.MaxEjected), example: "30%"}),
		of("trials", integer(1, 1_000_000), func(e *rawEject) *opt[int] { return &e.trials }, about{
			doc: "After its time a backend is half open: so many connections must succeed before it is trusted again, and the first failure ejects it.", def: eject.Trials, example: "20"}),
		of("trial_weight", percentKind, func(e *rawEject) *opt[int] { return &e.trialWeight }, about{
			doc: "The part of its weight that a half-open backend has.", defDoc: percentDoc(eject.TrialWeight), example: "1%"}),
	),
	func(on opt[bool]) rawEject { return rawEject{on: on} })

var outcomeFields = []field[rawCommon]{
	of("outcomes", boolean, func(c *rawCommon) *opt[bool] { return &c.outcomes.count }, about{
		doc: "Count what becomes of TCP connections, per backend: answered, refused, not answered, reset. Each flow is recorded then, as with `track: always`. `eject` and `syn_retry` imply it.", def: false, example: "true"}),
	of("eject", ejectKind, func(c *rawCommon) *opt[rawEject] { return &c.outcomes.eject }, about{
		doc: "Take a backend whose connections fail out of the table for a while, though its probe succeeds: `true`, or a mapping. TCP only; see docs/outcomes.md.", defDoc: "`false`", example: "{failures: 30%, time: 10s}"}),
	of("syn_retry", integer(0, model.MaxRetries), func(c *rawCommon) *opt[int] { return &c.outcomes.retries }, about{
		doc: "How many other backends a connection may try, one after the other, when its SYN is refused or not answered. The client sends the SYN again after 1 s, then 2 s, then 4 s. `nat` and `dnat` only.", def: 0, example: "1"}),
}

func percentDoc(n int) string { return fmt.Sprintf("`%d%%`", n) }

// serviceOutcomes is what becomes of connections that backends refuse.
func (w *world) serviceOutcomes(at place, s *model.Service, raw *rawService) model.Outcomes {
	own, inherited := &raw.common.outcomes, &w.defaults.outcomes
	o := model.Outcomes{
		Eject:   ejectOf(&own.eject, &inherited.eject),
		Retries: own.retries.or(inherited.retries).v,
	}
	counts := own.count.or(inherited.count)
	o.Count = counts.v || o.Eject.On || o.Retries > 0
	if len(s.Frontends) > 0 && s.Frontends[0].Protocol == model.UDP {
		w.refuseOnUDP(own, o)
		return model.Outcomes{}
	}
	if own.count.ok && !own.count.v && o.Count {
		w.fail(own.count.at, "outcomes: false, but eject and syn_retry live by counting them", "remove outcomes, or set eject: false and syn_retry: 0")
	}
	if s.Track == model.TrackNever && o.Count && !s.Forward.RewritesPorts() {
		w.fail(or(raw.common.track.at, raw.common.track.given, at), fmt.Sprintf("service %q counts what becomes of connections, of which each is recorded for it: track: never is impossible", s.Name), "remove track, or set outcomes and eject to false here")
	}
	if s.Forward != 0 && !s.Forward.RewritesPorts() {
		w.refuseWithoutReplies(at, s, own, o)
	}
	w.checkRetryTimeouts(at, s, own, o)
	if own.eject.v.time.given || own.eject.v.maxTime.given {
		w.checkEjectTimes(&own.eject.v, &inherited.eject.v)
	}
	return o
}

// checkEjectTimes checks that the longest ejection is not shorter than the first.
func (r *reader) checkEjectTimes(e, inherited *rawEject) {
	first, most := e.time.or(inherited.time), e.maxTime.or(inherited.maxTime)
	if !most.ok || first.orValue(eject.Time) <= most.v {
		return
	}
	at := first.at
	if e.maxTime.given || !first.given {
		at = most.at
	}
	r.fail(at, fmt.Sprintf("max_time of %s is shorter than the first ejection of %s", model.DurationText(most.v), model.DurationText(first.orValue(eject.Time))), "make time shorter or max_time longer")
}

// or is the place of what was given, or else another.
func or(at place, given bool, other place) place {
	if given {
		return at
	}
	return other
}

// refuseOnUDP refuses a UDP service's own keys; what it inherits has no meaning for
// it.
func (w *world) refuseOnUDP(own *rawOutcomes, o model.Outcomes) {
	const hint = "remove it: a datagram that is not answered may be one that needs no answer"
	for _, k := range []struct {
		key   string
		given bool
		at    place
	}{
		{"outcomes", own.count.v, own.count.key},
		{"eject", own.eject.given && o.Eject.On, own.eject.key},
		{"syn_retry", own.retries.v > 0, own.retries.key},
	} {
		if k.given {
			w.fail(k.at, fmt.Sprintf("%s is about TCP connections, and the service is UDP", k.key), hint)
		}
	}
}

// refuseWithoutReplies refuses what needs replies to be seen.
func (w *world) refuseWithoutReplies(at place, s *model.Service, own *rawOutcomes, o model.Outcomes) {
	if o.Retries > 0 {
		w.fail(or(own.retries.at, own.retries.given, at), fmt.Sprintf("service %q forwards by %s, where nobody sees whether a SYN was refused or answered: syn_retry is impossible", s.Name, s.Forward), "set syn_retry: 0 here, or use forward: nat or dnat")
	}
	if resets := own.eject.v.resets; o.Eject.On && o.Eject.Resets > 0 {
		w.fail(or(resets.at, resets.given, at), fmt.Sprintf("service %q forwards by %s, where a backend's resets pass by: resets of eject is impossible", s.Name, s.Forward), "remove resets, or use forward: nat or dnat")
	}
}

// checkRetryTimeouts checks that a flow is remembered until its SYN comes again.
func (w *world) checkRetryTimeouts(at place, s *model.Service, own *rawOutcomes, o model.Outcomes) {
	if o.Retries == 0 {
		return
	}
	for _, t := range []struct {
		name string
		time time.Duration
	}{{"tcp_syn", s.Timeouts.TCPSyn}, {"tcp_closed", s.Timeouts.TCPClosed}} {
		if t.time < leastRetryTimeout {
			w.fail(or(own.retries.at, own.retries.given, at), fmt.Sprintf("syn_retry with timeouts.%s of %s: the flow is forgotten before its SYN comes again", t.name, model.DurationText(t.time)), fmt.Sprintf("make it at least %s, or set syn_retry: 0 here", model.DurationText(leastRetryTimeout)))
		}
	}
}

// ejectOf is a service's eject from its own keys and those of `defaults:`.
func ejectOf(own, inherited *opt[rawEject]) model.Eject {
	said := own.or(*inherited)
	if !said.given || said.ok && !said.v.on.orValue(true) {
		return model.Eject{}
	}
	e, d := &own.v, &inherited.v
	out := model.Eject{
		On:          true,
		Failures:    e.failures.or(d.failures).orValue(eject.Failures),
		MinAttempts: e.minAttempts.or(d.minAttempts).orValue(eject.MinAttempts),
		Window:      e.window.or(d.window).orValue(eject.Window),
		Consecutive: e.consecutive.or(d.consecutive).orValue(eject.Consecutive),
		Resets:      e.resets.or(d.resets).orValue(eject.Resets),
		Time:        e.time.or(d.time).orValue(eject.Time),
		MaxEjected:  e.maxEjected.or(d.maxEjected).orValue(eject.MaxEjected),
		Trials:      e.trials.or(d.trials).orValue(eject.Trials),
		TrialWeight: e.trialWeight.or(d.trialWeight).orValue(eject.TrialWeight),
	}
	out.MaxTime = max(out.Time, e.maxTime.or(d.maxTime).orValue(eject.MaxTime))
	return out
}

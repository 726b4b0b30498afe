package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

// Options of [Run]. The zero value is not valid; see [Defaults].
type Options struct {
	// Rounds are repeated measurements, 1 or more, of Repeat packets each.
	Rounds, Repeat int
	// FlowTable is the size of the flow table, a power of two from 1048576 on.
	// That of scenarios with a million flows is four times as large.
	FlowTable int
	// Hooks, Forwards and Scenarios are what to measure; empty: all. A
	// scenario that a forwarding mode does not know is left out of it.
	Hooks     []string
	Forwards  []model.Forward
	Scenarios []string
	// Decisions measures what policies cost beside the packets' nanoseconds: by a
	// daemon, this program's own `xlb run`, in a network of namespaces. Only: nothing
	// else is measured.
	Decisions, Only bool
	// Round, if not nil, is called as a round (from 1 on) of a hook and
	// forwarding mode begins, Done with each result as it is there.
	Round func(hook string, forward model.Forward, round int)
	Done  func(Result)
}

// Defaults are enough for figures that can be compared.
func Defaults() Options { return Options{Rounds: 7, Repeat: 1 << 20, FlowTable: 1 << 20} }

// Quick is enough to see that every scenario works.
func Quick() Options { return Options{Rounds: 1, Repeat: 100_000, FlowTable: 1 << 20} }

// Report is what [Run] found.
type Report struct {
	// FloorNS is the median of the results' floors.
	FloorNS float64 `json:"floor_ns"`
	// BareNS and BareIPIPNS are the medians of the bare table look-up, which
	// rewrites MAC addresses or puts an outer IPv4 header in front, by hook and
	// by the number of flows: "1" or "100k".
	BareNS     map[string]map[string]float64 `json:"bare_ns"`
	BareIPIPNS map[string]map[string]float64 `json:"bare_ipip_ns"`

	Rounds  int      `json:"rounds"`
	Repeat  int      `json:"repeat"`
	Kernel  string   `json:"kernel"`
	CPU     string   `json:"cpu"`
	Results []Result `json:"results"`
	// Decisions are by hook, if asked for.
	Decisions []Decisions `json:"decisions,omitempty"`
}

// Result is the cost of one packet in nanoseconds, the wrapper's own
// subtracted, over the rounds.
type Result struct {
	Hook     string        `json:"hook"`
	Forward  model.Forward `json:"forward"`
	Scenario string        `json:"scenario"`
	// Flows from which packets came in a round.
	Flows    int     `json:"flows"`
	MedianNS float64 `json:"median_ns"`
	MinNS    float64 `json:"min_ns"`
	MaxNS    float64 `json:"max_ns"`
	// FloorNS is the wrapper with an empty program, beside this scenario.
	FloorNS float64 `json:"floor_ns"`
	// Ratio is how much more than the empty program the pipeline takes:
	// (median + floor) / floor. It travels between machines, nanoseconds do not.
	Ratio float64 `json:"ratio"`
	// BareNS is the bare table look-up beside this scenario: with an outer
	// header if the forwarding mode writes one, else with new MAC addresses;
	// with one flow if the scenario has one, else with 100,000.
	BareNS float64 `json:"bare_ns"`
	// BareRatio is MedianNS / BareNS: how much more than the least that is
	// needed.
	BareRatio float64 `json:"bare_ratio"`
}

// Run measures, within seconds per result, and removes all it made before it
// returns. An error of a scenario ends it; results before it are in the report.
// The error is context.Canceled if ctx was.
func Run(ctx context.Context, o Options) (r Report, err error) {
	if os.Geteuid() != 0 {
		return r, fmt.Errorf("the benchmark loads BPF programs and makes a network namespace: %w", fs.ErrPermission)
	}
	r = Report{Rounds: o.Rounds, Repeat: o.Repeat, Kernel: testlab.Kernel(), CPU: testlab.CPU(), Results: []Result{}}
	if !o.Only {
		err = r.packets(ctx, o)
	}
	if err == nil && o.Decisions {
		err = r.decisions(ctx, o)
	}
	return r, err
}

// decisions measures what policies cost, at the fastest hook and at TC.
func (r *Report) decisions(ctx context.Context, o Options) error {
	for _, attach := range []string{"native", "tc"} {
		d, err := decide(ctx, attach, o.Rounds == Quick().Rounds)
		if err != nil {
			return err
		}
		r.Decisions = append(r.Decisions, d)
	}
	return nil
}

// packets measures the scenarios.
func (r *Report) packets(ctx context.Context, o Options) (err error) {
	st, err := newStage(o.FlowTable)
	if err != nil {
		return fmt.Errorf("set up the benchmark: %w", err)
	}
	defer func() {
		if left := st.close(); left != nil {
			err = errors.Join(err, fmt.Errorf("the benchmark left something behind: %w", left))
		}
	}()
	seen := bareSamples{}
	err = st.balancer.Do(func() error {
		for _, series := range o.series(st) {
			results, err := series.measure(ctx, o, seen)
			if err != nil {
				return err
			}
			r.Results = append(r.Results, results...)
			for _, result := range results {
				if o.Done != nil {
					o.Done(result)
				}
			}
		}
		return nil
	})
	r.BareNS, r.BareIPIPNS = seen.medians(bareL2), seen.medians(bareIPIP)
	var floors []float64
	for _, result := range r.Results {
		floors = append(floors, result.FloorNS)
	}
	if len(floors) > 0 {
		r.FloorNS = median(floors)
	}
	return err
}

// series are those asked for, in the order of the report.
func (o Options) series(st *stage) []*series {
	var all []*series
	for _, hook := range Hooks() {
		for _, forward := range Forwards() {
			if !measurable(hook, forward) || !wanted(o.Hooks, hook) || !wanted(o.Forwards, forward) {
				continue
			}
			one := &series{stage: st, hook: hook, forward: forward}
			for _, s := range scenarios {
				if s.has(forward) && wanted(o.Scenarios, s.name) {
					one.all = append(one.all, &measurement{stage: st, hook: hook, forward: forward, scenario: s})
				}
			}
			if len(one.all) > 0 {
				all = append(all, one)
			}
		}
	}
	return all
}

// Empty says whether there is nothing to measure: a scenario that the forwarding
// modes do not know, or ipip and gue at TC.
func (o Options) Empty() bool { return len(o.series(nil)) == 0 }

func wanted[T comparable](list []T, v T) bool { return len(list) == 0 || slices.Contains(list, v) }

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func tenths(ns float64) float64 { return math.Round(ns*10) / 10 }

func hundredths(ratio float64) float64 { return math.Round(ratio*100) / 100 }

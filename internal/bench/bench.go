package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// Options of [Run]. The zero value is not valid; see [Defaults].
type Options struct {
	// Rounds are repeated measurements, 1 or more, of Repeat packets each.
	Rounds, Repeat int
	// FlowTable is the size of the flow table, a power of two from 262144 on.
	FlowTable int
	// Hooks, Forwards and Scenarios are what to measure; empty: all. A
	// scenario that a forwarding mode does not know is left out of it.
	Hooks     []string
	Forwards  []model.Forward
	Scenarios []string
	// Done, if not nil, is called with each result as it is there.
	Done func(Result)
}

// Defaults are enough for figures that can be compared.
func Defaults() Options { return Options{Rounds: 7, Repeat: 1 << 20, FlowTable: 1 << 20} }

// Quick is enough to see that every scenario works.
func Quick() Options { return Options{Rounds: 1, Repeat: 100_000, FlowTable: 1 << 19} }

// Report is what [Run] found.
type Report struct {
	// FloorNS is the median of the results' floors.
	FloorNS float64  `json:"floor_ns"`
	Rounds  int      `json:"rounds"`
	Repeat  int      `json:"repeat"`
	Kernel  string   `json:"kernel"`
	CPU     string   `json:"cpu"`
	Results []Result `json:"results"`
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
}

// Run measures, within seconds per result, and removes all it made before it
// returns. An error of a scenario ends it; results before it are in the report.
// The error is context.Canceled if ctx was.
func Run(ctx context.Context, o Options) (r Report, err error) {
	if os.Geteuid() != 0 {
		return r, fmt.Errorf("the benchmark loads BPF programs and makes a network namespace: %w", fs.ErrPermission)
	}
	r = Report{Rounds: o.Rounds, Repeat: o.Repeat, Kernel: kernel(), CPU: cpu(), Results: []Result{}}
	st, err := newStage(o.FlowTable)
	if err != nil {
		return r, fmt.Errorf("set up the benchmark: %w", err)
	}
	defer func() {
		if left := st.close(); left != nil {
			err = errors.Join(err, fmt.Errorf("the benchmark left something behind: %w", left))
		}
	}()
	err = st.balancer.Do(func() error {
		for _, m := range o.measurements(st) {
			result, err := m.measure(ctx, o)
			if err != nil {
				return err
			}
			r.Results = append(r.Results, result)
			if o.Done != nil {
				o.Done(result)
			}
		}
		return nil
	})
	var floors []float64
	for _, result := range r.Results {
		floors = append(floors, result.FloorNS)
	}
	if len(floors) > 0 {
		r.FloorNS = median(floors)
	}
	return r, err
}

// measurements are those asked for, in the order of the report.
func (o Options) measurements(st *stage) []*measurement {
	var all []*measurement
	for _, hook := range Hooks() {
		for _, forward := range Forwards() {
			for _, s := range scenarios {
				if s.has(forward) && wanted(o.Hooks, hook) && wanted(o.Forwards, forward) && wanted(o.Scenarios, s.name) {
					all = append(all, &measurement{st, hook, forward, s})
				}
			}
		}
	}
	return all
}

// Empty says whether there is nothing to measure: a scenario that the forwarding
// modes do not know.
func (o Options) Empty() bool { return len(o.measurements(nil)) == 0 }

func wanted[T comparable](list []T, v T) bool { return len(list) == 0 || slices.Contains(list, v) }

func (m *measurement) measure(ctx context.Context, o Options) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	d, err := m.prepare()
	if err != nil {
		return Result{}, fmt.Errorf("prepare %s: %w", m, err)
	}
	defer d.close()
	costs, floors := make([]float64, o.Rounds), make([]float64, o.Rounds)
	for i := range costs {
		var whole float64
		if whole, floors[i], err = m.round(ctx, d, o.Repeat); err != nil {
			return Result{}, err
		}
		costs[i] = whole - floors[i]
	}
	floor, mid := median(floors), median(costs)
	return Result{
		Hook: m.hook, Forward: m.forward, Scenario: m.name, Flows: cmp.Or(m.flows, o.Repeat),
		MedianNS: tenths(mid), MinNS: tenths(slices.Min(costs)), MaxNS: tenths(slices.Max(costs)),
		FloorNS: tenths(floor), Ratio: math.Round(100*(mid+floor)/floor) / 100,
	}, nil
}

// round measures repeat packets with the pipeline and with the empty program,
// in turns, in pieces so short that new flows fill an eighth of the flow table
// at most.
func (m *measurement) round(ctx context.Context, d *driver, repeat int) (whole, floor float64, err error) {
	for done := 0; done < repeat; {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		n := min(m.flowTable/8, repeat-done)
		empty, full, err := m.piece(d, n)
		if errors.Is(err, errInterrupted) {
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		share := float64(n) / float64(repeat)
		floor += share * float64(empty)
		whole += share * float64(full)
		done += n
	}
	return whole, floor, nil
}

func (m *measurement) piece(d *driver, n int) (empty, full time.Duration, err error) {
	if m.kind == newFlow {
		if err := m.forget(); err != nil {
			return 0, 0, err
		}
	}
	before, err := m.counters()
	if err != nil {
		return 0, 0, err
	}
	verdict, empty, err := d.run(nil, n)
	if err != nil {
		return 0, 0, err
	}
	if want := hookSpec[m.hook].nothing; verdict != want {
		return 0, 0, fmt.Errorf("the empty program returned %d, not %d", verdict, want)
	}
	if verdict, full, err = d.run(m.program(), n); err != nil {
		return 0, 0, err
	}
	after, err := m.counters()
	if err != nil {
		return 0, 0, err
	}
	return empty, full, m.check(before, after, n, verdict)
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func tenths(ns float64) float64 { return math.Round(ns*10) / 10 }

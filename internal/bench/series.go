package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// series is the scenarios of a hook and a forwarding mode. They take turns,
// round by round: the machine's speed changes with its neighbours within
// seconds, and so changes all of them alike.
type series struct {
	stage   *stage
	hook    string
	forward model.Forward
	all     []*measurement
}

// sample is one round of one scenario in nanoseconds: the pipeline's cost and
// the wrapper's, and the bare table look-up's beside them.
type sample struct{ cost, floor, bare float64 }

// measure returns the results in the order of the scenarios.
func (s *series) measure(ctx context.Context, o Options, seen bareSamples) ([]Result, error) {
	defer func() {
		for _, m := range s.all {
			if m.driver != nil {
				m.driver.close()
			}
		}
	}()
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	for i := range o.Rounds {
		if o.Round != nil {
			o.Round(s.hook, s.forward, i+1)
		}
		if err := s.bareRound(ctx, seen); err != nil {
			return nil, err
		}
		for _, m := range s.all {
			if err := m.round(ctx, o.Repeat, seen); err != nil {
				return nil, err
			}
		}
	}
	var results []Result
	for _, m := range s.all {
		results = append(results, m.result(o.Repeat))
	}
	return results, nil
}

// prepare brings the rooms' flow tables into their states.
func (s *series) prepare(ctx context.Context) error {
	begun := map[*room]bool{}
	most := map[population]int{}
	flows := map[population][]maps.Flow{}
	for _, m := range s.all {
		most[m.population()] = max(most[m.population()], m.flows)
	}
	for _, m := range s.all {
		err := ctx.Err()
		if err == nil {
			m.room, err = s.stage.room(m.roomKind())
		}
		if err == nil && !begun[m.room] {
			begun[m.room] = true
			err = m.room.begin(s.stage.contents[s.forward])
		}
		p := m.population()
		if err == nil && m.established() && flows[p] == nil {
			flows[p], err = m.establish(most[p])
		}
		if err == nil {
			err = m.prepare(flows[p])
		}
		if err != nil {
			return fmt.Errorf("prepare %s: %w", m, err)
		}
	}
	return nil
}

// pieceSize keeps new flows from filling more than an eighth of a flow table,
// and what is compared close together.
func (st *stage) pieceSize() int { return st.flowTable / 8 }

// pieceSize of unknown flows is one packet of each: then they are known. Of those
// that go to the daemon as many as fit into the ring buffer.
func (m *measurement) pieceSize() int {
	switch m.kind {
	case unknown:
		return min(m.flows, m.stage.pieceSize())
	case asked:
		return 1 << 13
	}
	return m.stage.pieceSize()
}

// bareRound measures every kind of the bare table look-up, whether or not a
// scenario of the series is compared with it.
func (s *series) bareRound(ctx context.Context, seen bareSamples) error {
	b, err := s.stage.bare(s.hook)
	if err != nil {
		return err
	}
	for _, kind := range []bareKind{bareL2, bareIPIP} {
		for _, flows := range []int{one, many} {
			err := uninterrupted(ctx, func() error {
				ns, err := b.measure(kind, flows, s.stage.pieceSize())
				if err == nil {
					seen.add(kind, s.hook, flows, ns)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// uninterrupted calls f until no signal ends it before its time.
func uninterrupted(ctx context.Context, f func() error) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(); !errors.Is(err, errInterrupted) {
			return err
		}
	}
}

// round measures repeat packets with the empty program, the pipeline and the
// bare table look-up, in turns, piece by piece.
func (m *measurement) round(ctx context.Context, repeat int, seen bareSamples) error {
	var sum sample
	for done := 0; done < repeat; {
		n := min(m.pieceSize(), repeat-done)
		err := uninterrupted(ctx, func() error {
			s, err := m.piece(n)
			share := float64(n) / float64(repeat)
			sum.cost += share * s.cost
			sum.floor += share * s.floor
			sum.bare += share * s.bare
			return err
		})
		if err != nil {
			return err
		}
		done += n
	}
	m.samples = append(m.samples, sum)
	seen.add(m.bareKind(), m.hook, m.bareFlows(), sum.bare)
	return nil
}

// piece returns zeros beside an error.
func (m *measurement) piece(n int) (s sample, err error) {
	if m.room.kind == fresh {
		if err := m.room.forget(); err != nil {
			return sample{}, err
		}
	}
	if m.kind == asked {
		if err := m.room.listen(m.service()); err != nil {
			return sample{}, err
		}
	}
	before, err := m.counters()
	if err != nil {
		return sample{}, err
	}
	if s.floor, err = m.driver.floor(n, m.encapsulates()); err != nil {
		return sample{}, err
	}
	verdict, whole, err := m.driver.run(m.program(), n)
	if err != nil {
		return sample{}, err
	}
	after, err := m.counters()
	if err != nil {
		return sample{}, err
	}
	if err := m.check(before, after, n, verdict); err != nil {
		return sample{}, err
	}
	s.cost = float64(whole) - s.floor
	b, err := m.stage.bare(m.hook)
	if err != nil {
		return sample{}, err
	}
	if s.bare, err = b.measure(m.bareKind(), m.bareFlows(), n); err != nil {
		return sample{}, err
	}
	return s, nil
}

// column collects one figure of the rounds.
func column(samples []sample, of func(sample) float64) []float64 {
	out := make([]float64, len(samples))
	for i, s := range samples {
		out[i] = of(s)
	}
	return out
}

func (m *measurement) result(repeat int) Result {
	costs := column(m.samples, func(s sample) float64 { return s.cost })
	floor := median(column(m.samples, func(s sample) float64 { return s.floor }))
	bare := median(column(m.samples, func(s sample) float64 { return s.bare }))
	mid, flows := median(costs), m.flows
	if flows == 0 {
		flows = repeat
	}
	return Result{
		Hook: m.hook, Forward: m.forward, Scenario: m.name, Flows: flows,
		MedianNS: tenths(mid), MinNS: tenths(slices.Min(costs)), MaxNS: tenths(slices.Max(costs)),
		FloorNS: tenths(floor), Ratio: hundredths((mid + floor) / floor),
		BareNS: tenths(bare), BareRatio: hundredths(mid / bare),
	}
}

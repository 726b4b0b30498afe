package flood

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/xlb-io/xlb/internal/testlab"
)

// Options of [Run]. The zero value is not valid; see [Defaults].
type Options struct {
	// Rounds, 1 or more, in each of which every row has its turn for Piece,
	// which is at least 10 ms.
	Rounds int
	Piece  time.Duration
	// Threads are the numbers of CPUs that send, each in a measurement of its own;
	// those that the machine lacks are left out.
	Threads []int
	// Only these rows, by name; empty: all.
	Only []string
	// Progress, if not nil, is called as a round begins.
	Progress func(line string)
}

// Defaults are enough for figures that can be compared, in some three minutes.
func Defaults() Options {
	return Options{Rounds: 7, Piece: 500 * time.Millisecond, Threads: []int{1, 2}}
}

// Quick is enough to see that every row works.
func Quick() Options {
	return Options{Rounds: 1, Piece: 50 * time.Millisecond, Threads: []int{1, 2}}
}

// Report is what [Run] found.
type Report struct {
	Rounds  int      `json:"rounds"`
	Seconds float64  `json:"seconds"` // of each measurement
	Kernel  string   `json:"kernel"`
	CPU     string   `json:"cpu"`
	Results []Result `json:"results"`
}

// Result is one row with one number of sending CPUs.
type Result struct {
	Name    string `json:"name"`
	What    string `json:"what"`
	Threads int    `json:"threads"`
	// Skipped says why it was not measured.
	Skipped string `json:"skipped,omitempty"`
	// Millions of frames that arrived, for a second of the sending CPUs' time,
	// over the rounds.
	MedianMpps float64 `json:"median_mpps"`
	MinMpps    float64 `json:"min_mpps"`
	MaxMpps    float64 `json:"max_mpps"`
	// Loss is the share of the frames sent that did not arrive, 0 to 1.
	Loss float64 `json:"loss"`
	// Sent = Arrived + all of Lost, over all rounds.
	Sent    uint64 `json:"sent"`
	Arrived uint64 `json:"arrived"`
	// Lost are the frames that did not arrive, by where they were dropped.
	Lost map[string]uint64 `json:"lost"`
}

// Run measures and removes all it made before it returns. The error is
// context.Canceled if ctx was.
func Run(ctx context.Context, o Options) (report Report, err error) {
	report = Report{Rounds: o.Rounds, Seconds: o.Piece.Seconds(), Kernel: testlab.Kernel(), CPU: testlab.CPU(), Results: []Result{}}
	if os.Geteuid() != 0 {
		return report, fmt.Errorf("the flood loads BPF programs and makes network namespaces: %w", fs.ErrPermission)
	}
	chosen, err := o.rows()
	if err != nil {
		return report, err
	}
	var measured []*measurement
	var needed []row
	most := 1
	for _, r := range chosen {
		why := r.possible()
		if why == "" {
			needed = append(needed, r)
		}
		for _, n := range o.Threads {
			cpus, err := testlab.CPUs(n)
			if err != nil {
				return report, err
			}
			if len(cpus) == n {
				measured = append(measured, &measurement{row: r, cpus: cpus, skipped: why})
				most = max(most, slices.Max(cpus)+1)
			}
		}
	}
	s, err := newSite(ctx, needed, most)
	if err != nil {
		return report, err
	}
	defer func() {
		for _, m := range measured {
			if m.generator != nil {
				m.generator.close()
			}
		}
		if left := s.close(); left != nil {
			err = errors.Join(err, fmt.Errorf("the flood left something behind: %w", left))
		}
	}()
	if err := s.rounds(ctx, measured, o); err != nil {
		return report, err
	}
	for _, m := range measured {
		report.Results = append(report.Results, m.result())
	}
	return report, nil
}

func (o Options) rows() ([]row, error) {
	if len(o.Only) == 0 {
		return rows(), nil
	}
	for _, name := range o.Only {
		if !slices.Contains(Names(), name) {
			return nil, fmt.Errorf("there is no row %q (there are %v)", name, Names())
		}
	}
	return slices.DeleteFunc(rows(), func(r row) bool { return !slices.Contains(o.Only, r.name) }), nil
}

// rounds gives every measurement its turn, round by round: the machine's speed
// changes with its neighbours within seconds, and so changes all of them alike.
func (s *site) rounds(ctx context.Context, measured []*measurement, o Options) error {
	for i := range o.Rounds {
		if o.Progress != nil {
			o.Progress(fmt.Sprintf("round %d of %d", i+1, o.Rounds))
		}
		for _, m := range measured {
			if err := ctx.Err(); err != nil {
				return err
			}
			if m.skipped != "" {
				continue
			}
			err := s.measure(m, o.Piece)
			for errors.Is(err, errInterrupted) && ctx.Err() == nil {
				err = s.measure(m, o.Piece)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				return fmt.Errorf("%s with %d CPUs: %w", m.row.name, len(m.cpus), err)
			}
		}
	}
	return nil
}

// measurement is a row and the CPUs that send.
type measurement struct {
	row       row
	cpus      []int
	skipped   string
	generator *generator
	// introduced: its flows are known.
	introduced bool
	mpps       []float64
	counts     counts
}

// counts are frames.
type counts struct {
	sent, arrived uint64
	lost          map[string]uint64
	// Flows of the data plane.
	created, evicted uint64
}

func (s *site) measure(m *measurement, d time.Duration) (err error) {
	b := s.beds[m.row.way]
	if p := s.programOf(m.row); p != nil {
		if err := b.balanceWith(p); err != nil {
			return err
		}
	}
	if m.generator == nil {
		if m.generator, err = newGenerator(b, m.row.traffic, m.cpus, s.softirqs); err != nil {
			return err
		}
	}
	if !m.introduced {
		if err := s.introduce(m); err != nil {
			return fmt.Errorf("introduce its flows: %w", err)
		}
		m.introduced = true
	}
	if m.generator.rate == 0 {
		if err := s.try(m); err != nil {
			return err
		}
	}
	before, err := s.counts(m.row)
	if err != nil {
		return err
	}
	after, rate, err := s.send(m, m.generator.framesIn(d))
	if err != nil {
		return err
	}
	if err := m.checkFlows(before, after); err != nil {
		return err
	}
	return m.add(before, after, rate)
}

// try guesses the rate.
func (s *site) try(m *measurement) error {
	_, _, err := s.send(m, trial*len(m.cpus))
	return err
}

// send sends n frames and returns the counters after them, and the rate.
func (s *site) send(m *measurement, n int) (after counts, rate float64, err error) {
	if err := m.generator.begin(); err != nil {
		return counts{}, 0, err
	}
	if err := m.generator.send(n); err != nil {
		return counts{}, 0, err
	}
	if after, err = s.settled(m.row); err == nil {
		after.sent, rate, err = m.generator.end()
	}
	return after, rate, err
}

// introduce sends what must go before, and again until none of it was lost on
// the way.
func (s *site) introduce(m *measurement) error {
	n := m.row.introductions()
	if n == 0 || m.row.way == oursNew && s.filled {
		return nil
	}
	for range 10 {
		before, err := s.counts(m.row)
		if err != nil {
			return err
		}
		after, _, err := s.send(m, n)
		if err != nil {
			return err
		}
		if m.row.way == oursNew {
			s.filled = true
			return nil
		}
		if after.arrived-before.arrived >= uint64(n) {
			return nil
		}
	}
	return errors.New("some were lost each of ten times")
}

// checkFlows says whether the flow table did what the row says.
func (m *measurement) checkFlows(before, after counts) error {
	created, evicted := after.created-before.created, after.evicted-before.evicted
	switch m.row.way {
	case ours:
		if created > 0 {
			return fmt.Errorf("%d flows were recorded, although all are known or need no record", created)
		}
	case oursNew:
		if evicted < created-created/50 {
			return fmt.Errorf("only %d of %d new flows took another's place, although the flow table is full", evicted, created)
		}
	}
	return nil
}

// add puts one round's figures to the others. A frame that vanished is an error,
// but in the kernel's own ways, which drop in silence.
func (m *measurement) add(before, after counts, rate float64) error {
	arrived := after.arrived - before.arrived
	rest := after.sent - arrived
	lost := map[string]uint64{}
	for name, n := range after.lost {
		if n -= before.lost[name]; n > 0 {
			lost[name] = n
			rest -= n
		}
	}
	if m.row.way == forwards || m.row.way == nftables {
		if int64(rest) > 0 {
			lost["in the kernel"] = rest
			rest = 0
		}
	}
	if rest != 0 {
		return fmt.Errorf("of %d frames sent %d arrived, %v were dropped, and %d are missing", after.sent, arrived, lost, int64(rest))
	}
	if arrived == 0 {
		return fmt.Errorf("of %d frames sent none arrived: %v", after.sent, lost)
	}
	m.mpps = append(m.mpps, rate*float64(arrived)/float64(after.sent)/1e6)
	m.counts.sent += after.sent
	m.counts.arrived += arrived
	if m.counts.lost == nil {
		m.counts.lost = map[string]uint64{}
	}
	for name, n := range lost {
		m.counts.lost[name] += n
	}
	return nil
}

// settled reads the counters when none moves any more.
func (s *site) settled(r row) (counts, error) {
	last, err := s.counts(r)
	for deadline := time.Now().Add(5 * time.Second); err == nil; {
		time.Sleep(2 * time.Millisecond)
		var now counts
		if now, err = s.counts(r); err != nil {
			break
		}
		if now.arrived == last.arrived && maps.Equal(now.lost, last.lost) {
			return now, nil
		}
		if time.Now().After(deadline) {
			return now, errors.New("frames still arrive five seconds after the last was sent")
		}
		last = now
	}
	return counts{}, err
}

func (s *site) counts(r row) (counts, error) {
	b := s.beds[r.way]
	c := counts{lost: map[string]uint64{}}
	if plane := s.planes[r.way]; plane != nil {
		var err error
		if c.lost, err = plane.lost(); err != nil {
			return c, err
		}
		if c.created, c.evicted, err = plane.flows(); err != nil {
			return c, err
		}
	}
	var perCPU []uint64
	if err := b.collection.Maps["arrived"].Lookup(uint32(0), &perCPU); err != nil {
		return c, fmt.Errorf("read the sink's count: %w", err)
	}
	for _, n := range perCPU {
		c.arrived += n
	}
	in, err := b.stats(inName)
	if err != nil {
		return c, err
	}
	out, err := b.stats(outName)
	if err != nil {
		return c, err
	}
	// A veth counts what found its peer's ring full at both ends, and what the
	// peer's program could not redirect at the peer.
	c.lost["balancer's ring full"] = in.RxDropped
	c.lost["sink's ring full"] = out.TxDropped
	return c, nil
}

func (b *bed) stats(name string) (*netlink.LinkStatistics, error) {
	h, err := b.balancer.Handle()
	if err != nil {
		return nil, err
	}
	l, err := h.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("read statistics of %s: %w", name, err)
	}
	return l.Attrs().Statistics, nil
}

func (m *measurement) result() Result {
	r := Result{Name: m.row.name, What: m.row.what, Threads: len(m.cpus), Skipped: m.skipped, Lost: m.counts.lost}
	if r.Lost == nil {
		r.Lost = map[string]uint64{}
	}
	if len(m.mpps) == 0 {
		return r
	}
	s := slices.Sorted(slices.Values(m.mpps))
	r.MedianMpps = thousandths((s[(len(s)-1)/2] + s[len(s)/2]) / 2)
	r.MinMpps, r.MaxMpps = thousandths(s[0]), thousandths(s[len(s)-1])
	r.Sent, r.Arrived = m.counts.sent, m.counts.arrived
	r.Loss = thousandths(1 - float64(r.Arrived)/float64(r.Sent))
	return r
}

func thousandths(v float64) float64 { return math.Round(v*1000) / 1000 }

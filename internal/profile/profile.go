// Package profile tells where in the data plane's source a packet's time goes. It
// runs a scenario of package bench under perf's timer, which needs no hardware
// counters, and looks up in the kernel's line information what each sample was at.
//
// What a helper of the kernel takes is its caller's. The bare table look-up and the
// benchmark's wrapper, which run in turns with the data plane, are left out.
//
// A sample falls where the processor waited: a load that misses the caches shows at
// the statement that first needs its value. Needs root and perf.
package profile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/xlb-io/xlb/internal/bench"
	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

// Report is where the time of one scenario goes.
type Report struct {
	Result  bench.Result `json:"result"`
	Samples int          `json:"samples"` // in the data plane
	Files   []Share      `json:"files"`   // the largest first
	Lines   []Share      `json:"lines"`
	Program Program      `json:"program"`
	Kernel  string       `json:"kernel"`
	CPU     string       `json:"cpu"`
}

// Share is a file's or a line's.
type Share struct {
	File    string  `json:"file"`
	Line    uint32  `json:"line,omitempty"`
	Text    string  `json:"text,omitempty"`
	Percent float64 `json:"percent"`
	// Helpers is how much of Percent is the kernel's functions that it calls.
	Helpers float64 `json:"helpers"`
	// NS is so much of the scenario's median.
	NS float64 `json:"ns"`
	// Instructions of eBPF, of statements in which one sample in ten thousand or
	// more was. Those that no sample happened to hit are missing, and of a statement
	// with branches not all need have run.
	Instructions int `json:"instructions"`
}

// Program is what the kernel made of the data plane.
type Program struct {
	Name         string     `json:"name"`
	Verified     int        `json:"verified"`     // instructions that the verifier looked at
	Instructions int        `json:"instructions"` // of eBPF, after its changes
	Bytes        int        `json:"bytes"`        // of machine code
	Functions    []Function `json:"functions"`
}

// Function is one that was not inlined.
type Function struct {
	Name  string `json:"name"`
	Bytes int    `json:"bytes"`
}

// Run measures the one scenario that o asks for, at the XDP hook, and profiles it
// meanwhile.
func Run(ctx context.Context, o bench.Options) (r Report, err error) {
	if len(o.Forwards) != 1 || len(o.Scenarios) != 1 {
		return r, errors.New("a profile is of one forwarding mode and one scenario")
	}
	o.Hooks = []string{"xdp"}
	dir, err := os.MkdirTemp("", "xlb-profile-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p := &profiler{dir: dir}
	o.Round = p.round
	measured, err := bench.Run(ctx, o)
	if p.sampler != nil {
		err = errors.Join(err, p.sampler.stop())
	}
	if err = errors.Join(err, p.err); err != nil {
		return r, err
	}
	if len(measured.Results) != 1 {
		return r, fmt.Errorf("%s has no scenario %s", o.Forwards[0], o.Scenarios[0])
	}
	r = Report{Result: measured.Results[0], Kernel: testlab.Kernel(), CPU: testlab.CPU()}
	return r, p.attribute(ctx, &r)
}

// profiler samples from the first round on.
type profiler struct {
	dir     string
	images  []image
	sampler *sampler
	err     error
}

// round is called in the scenario's own thread as a round begins: the data plane
// is loaded and its flows are made.
func (p *profiler) round(_ string, _ model.Forward, round int) {
	if round > 1 {
		return
	}
	if p.images, p.err = images("xlb_xdp"); p.err == nil {
		p.sampler, p.err = startSampler(p.dir)
	}
}

// hits are samples in a statement, and those of them that were in a helper.
type hits struct{ all, helpers int }

// attribute counts samples by statement.
func (p *profiler) attribute(ctx context.Context, r *Report) error {
	seen := make([][]hits, len(p.images))
	sums := make([]int, len(p.images))
	for i := range p.images {
		seen[i] = make([]hits, len(p.images[i].statements))
	}
	err := p.sampler.samples(ctx, func(chain []uint64) {
		i, n, depth := p.find(chain)
		if n < 0 {
			return
		}
		sums[i]++
		seen[i][n].all++
		if depth > 0 {
			seen[i][n].helpers++
		}
	})
	if err != nil {
		return err
	}
	// The data plane is loaded several times, one of them runs.
	most := slices.Max(sums)
	of := slices.Index(sums, most)
	if most == 0 {
		return errors.New("no sample fell into the data plane (more rounds?)")
	}
	r.Samples, r.Program = most, p.images[of].program
	r.Files = p.shares(r, of, seen[of], func(s statement) Share { return Share{File: s.file} })
	r.Lines = p.shares(r, of, seen[of], func(s statement) Share { return Share{File: s.file, Line: s.line, Text: s.text} })
	return nil
}

// find is the innermost place of a sample that is in the data plane: of which
// program, which statement (-1: none), and how many calls within.
func (p *profiler) find(chain []uint64) (program, statement, depth int) {
	for depth, at := range chain {
		for i := range p.images {
			if n := p.images[i].at(at); n >= 0 {
				return i, n, depth
			}
		}
	}
	return 0, -1, 0
}

// shares sums up statements that have the same key.
func (p *profiler) shares(r *Report, of int, seen []hits, key func(statement) Share) []Share {
	sums, instructions := map[Share]hits{}, map[Share]int{}
	for n, s := range p.images[of].statements {
		if seen[n].all == 0 {
			continue
		}
		k := key(s)
		sums[k] = hits{sums[k].all + seen[n].all, sums[k].helpers + seen[n].helpers}
		if seen[n].all*10_000 >= r.Samples {
			instructions[k] += s.instructions
		}
	}
	var out []Share
	for s, n := range sums {
		all, helpers := float64(n.all)/float64(r.Samples), float64(n.helpers)/float64(r.Samples)
		s.Instructions = instructions[s]
		s.Percent, s.Helpers, s.NS = tenths(100*all), tenths(100*helpers), tenths(all*r.Result.MedianNS)
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Percent, a.Percent), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return out
}

func tenths(x float64) float64 { return math.Round(10*x) / 10 }

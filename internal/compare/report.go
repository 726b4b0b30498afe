package compare

import (
	"context"
	"math"
	"os/exec"
	"regexp"
	"runtime"
	"slices"

	"github.com/xlb-io/xlb/internal/testlab"
)

// Report is what came of a comparison.
type Report struct {
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	// Programs are the versions of what was compared and of the tools.
	Programs map[string]string `json:"programs"`
	Rounds   int               `json:"rounds"`
	// Seconds is how long each piece of a round lasted.
	Seconds int `json:"seconds"`
	// Others is how many CPUs others kept busy before each turn: how quiet the
	// machine was.
	Others  Figure   `json:"cpus_used_by_others"`
	Results []Result `json:"results"`
}

// Result is what a balancer did. Its figures are over the rounds that succeeded.
type Result struct {
	Name string `json:"name"`
	What string `json:"what"`
	// Connections are TCP connections with one request each, a second.
	Connections Figure `json:"connections_per_second"`
	// ConnectionCPU is what client, balancer and backends together spend on
	// one such connection: the whole machine's time, without what others used
	// before. All zero if they used too much of it in every round.
	ConnectionCPU Figure `json:"cpu_us_per_connection"`
	// Requests are over connections that stay, a second; what follows is of
	// the same piece.
	Requests   Figure `json:"requests_per_second"`
	RequestCPU Figure `json:"cpu_us_per_request"`
	P50        Figure `json:"p50_us"`
	P99        Figure `json:"p99_us"`
	P999       Figure `json:"p999_us"`
	// Upload is from the client to the backends, in GB/s.
	Upload   Figure `json:"upload_gb_per_second"`
	Download Figure `json:"download_gb_per_second"`
	// Shares are the backends' parts of Connections.
	Shares []Figure `json:"backend_shares"`
	// Problems say why there are no more figures; empty if all is well.
	Problems []string `json:"problems"`
}

// Figure is a value over the rounds.
type Figure struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Problems are those of all balancers, with their names.
func (r Report) Problems() []string {
	var all []string
	for _, one := range r.Results {
		for _, p := range one.Problems {
			all = append(all, one.Name+": "+p)
		}
	}
	return all
}

func (c *comparison) report(ctx context.Context) Report {
	r := Report{
		Kernel: testlab.Kernel(), CPU: testlab.CPU(), CPUs: runtime.NumCPU(), Programs: c.versions(ctx),
		Rounds: c.Rounds, Seconds: c.Seconds,
	}
	var others []float64
	for _, s := range c.sites {
		r.Results = append(r.Results, s.result())
		for _, m := range s.measured {
			others = append(others, m.others)
		}
	}
	r.Others = figure(others)
	return r
}

func (s *site) result() Result {
	over := func(value func(measurement) float64) Figure {
		var values []float64
		for _, m := range s.measured {
			if v := value(m); !math.IsNaN(v) {
				values = append(values, v)
			}
		}
		return figure(values)
	}
	r := Result{
		Name: s.name, What: s.what, Problems: append([]string{}, s.problems...),
		Connections:   over(func(m measurement) float64 { return m.connections.rate }),
		ConnectionCPU: over(func(m measurement) float64 { return m.connections.cpu }),
		Requests:      over(func(m measurement) float64 { return m.requests.rate }),
		RequestCPU:    over(func(m measurement) float64 { return m.requests.cpu }),
		P50:           over(func(m measurement) float64 { return m.requests.p50 }),
		P99:           over(func(m measurement) float64 { return m.requests.p99 }),
		P999:          over(func(m measurement) float64 { return m.requests.p999 }),
		Upload:        over(func(m measurement) float64 { return m.upload }),
		Download:      over(func(m measurement) float64 { return m.download }),
	}
	for i := range backends {
		r.Shares = append(r.Shares, over(func(m measurement) float64 { return m.shares[i] }))
	}
	return r
}

// figure is all zero if there are no values.
func figure(values []float64) Figure {
	if len(values) == 0 {
		return Figure{}
	}
	values = slices.Sorted(slices.Values(values))
	middle := len(values) / 2
	f := Figure{Median: values[middle], Min: values[0], Max: values[len(values)-1]}
	if len(values)%2 == 0 {
		f.Median = (values[middle-1] + values[middle]) / 2
	}
	return f
}

var version = regexp.MustCompile(`\d+\.\d[^\s,)]*`)

// versions asks the programs, each of which has its own way to say it.
func (c *comparison) versions(ctx context.Context) map[string]string {
	versions := map[string]string{}
	for _, ask := range [][]string{{"haproxy", "-v"}, {"nginx", "-v"}, {"nft", "-v"}, {"wrk", "-v"}, {"iperf3", "-v"}} {
		// wrk ends with an error status after it has said it; one that is not
		// installed was not needed.
		out, _ := exec.CommandContext(ctx, ask[0], ask[1:]...).CombinedOutput()
		if v := version.Find(out); v != nil {
			versions[ask[0]] = string(v)
		}
	}
	return versions
}

package flood

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/internal/testlab"
)

// Every row is what it says, and no frame vanishes.
func TestRun(t *testing.T) {
	o := Quick()
	rounds := 0
	o.Progress = func(string) { rounds++ }
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	most, err := testlab.CPUs(2)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Names() {
		for n := range most {
			want = append(want, name+strings.Repeat(" cpu", n+1))
		}
	}
	for _, x := range r.Results {
		got = append(got, x.Name+strings.Repeat(" cpu", x.Threads))
		if x.Skipped != "" {
			t.Logf("%s: skipped: %s", x.Name, x.Skipped)
			continue
		}
		accounted := x.Arrived
		for _, n := range x.Lost {
			accounted += n
		}
		if x.Sent == 0 || x.Arrived == 0 || accounted != x.Sent {
			t.Errorf("%s: sent %d, arrived %d, lost %v", x.Name, x.Sent, x.Arrived, x.Lost)
		}
		if x.MinMpps <= 0 || x.MinMpps > x.MedianMpps || x.MedianMpps > x.MaxMpps || x.Loss < 0 || x.Loss >= 1 {
			t.Errorf("%+v", x)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if rounds != o.Rounds {
		t.Errorf("told of %d rounds of %d", rounds, o.Rounds)
	}
}

// What was sent and neither arrived nor was dropped by name is an error.
func TestVanished(t *testing.T) {
	before := counts{arrived: 5, lost: map[string]uint64{"sink's ring full": 1}}
	after := counts{sent: 100, arrived: 95, lost: map[string]uint64{"sink's ring full": 11}}
	m := &measurement{row: row{way: ours}}
	if err := m.add(before, after, 2e6); err != nil {
		t.Fatal(err)
	}
	r := m.result()
	if r.Sent != 100 || r.Arrived != 90 || r.Loss != 0.1 || r.MedianMpps != 1.8 || r.Lost["sink's ring full"] != 10 {
		t.Errorf("%+v", r)
	}
	for _, arrived := range []uint64{94, 96} {
		after.arrived = arrived
		if m.add(before, after, 2e6) == nil {
			t.Errorf("accepted %d frames instead of 95", arrived)
		}
	}
	after = counts{sent: 10, lost: map[string]uint64{"drop_no_backend": 10}}
	if m.add(counts{}, after, 2e6) == nil {
		t.Error("accepted a round of which nothing arrived")
	}
}

// A row whose flows are not what it says is an error, not a figure.
func TestCheckFlows(t *testing.T) {
	for _, c := range []struct {
		way              way
		created, evicted uint64
		right            bool
	}{
		{ours, 0, 0, true}, {ours, 1, 0, false},
		{oursNew, 1000, 1000, true}, {oursNew, 1000, 900, false},
	} {
		m := &measurement{row: row{way: c.way}}
		err := m.checkFlows(counts{}, counts{created: c.created, evicted: c.evicted})
		if (err == nil) != c.right {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Interrupted, it removes what it made; the test main looks for what is left.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := Quick()
	o.Only = []string{"drop", "xlb-l2dsr-1k"}
	o.Progress = func(string) { cancel() }
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestOnly(t *testing.T) {
	o := Quick()
	o.Only = []string{"drop", "dorp"}
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), `there is no row "dorp"`) {
		t.Error(err)
	}
}

func TestPrint(t *testing.T) {
	r := Report{Rounds: 3, Seconds: 0.5, Results: []Result{
		{Name: "drop", What: "XDP_DROP", Threads: 1, MedianMpps: 5.4, MinMpps: 5, MaxMpps: 6, Lost: map[string]uint64{}},
		{Name: "kernel", Threads: 2, MedianMpps: 1.5, Loss: 0.25, Lost: map[string]uint64{"in the kernel": 2, "sink's ring full": 10}},
		{Name: "nft-1k", Threads: 1, Skipped: "nft is not installed"},
	}}
	var b bytes.Buffer
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for i, want := range [][]string{
		{"NAME", "CPUS"}, {"drop", "1", "5.40", "5.00", "6.00", "0.0", "%", "-", "XDP_DROP"},
		{"kernel", "2", "1.50", "0.00", "0.00", "25.0", "%", "sink's", "ring", "full,", "in", "the", "kernel"},
		{"nft-1k", "1", "-", "-", "-", "-", "skipped:"},
	} {
		if got := strings.Fields(lines[i]); len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
			t.Errorf("line %d: %q", i, lines[i])
		}
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{`"median_mpps":5.4`, `"threads":1`, `"lost":{}`, `"loss":0.25`, `"skipped":"nft is not installed"`} {
		if !bytes.Contains(raw, []byte(field)) {
			t.Errorf("no %s in %s", field, raw)
		}
	}
}

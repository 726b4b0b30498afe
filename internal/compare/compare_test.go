package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
)

// binary is the xlb under test; empty until it is built.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "xlb-compare-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := testMain(m, dir)
	os.RemoveAll(dir)
	os.Exit(code)
}

func testMain(m *testing.M, dir string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary = filepath.Join(dir, "xlb")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/xlb").CombinedOutput(); err != nil {
		return fail(fmt.Errorf("build xlb: %w\n%s", err, out))
	}
	before, err := testlab.TakeSnapshot()
	if err != nil {
		return fail(err)
	}
	code := m.Run()
	if err := before.Leaks(5 * time.Second); err != nil {
		return fail(err)
	}
	return code
}

// options are those of a quick comparison, or the test is skipped.
func options(t *testing.T, only ...string) Options {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	missing, err := Missing(only)
	if err != nil {
		t.Fatal(err)
	}
	if len(missing) > 0 {
		t.Skipf("not installed: %s (test/deps go compare)", strings.Join(missing, ", "))
	}
	o := Quick()
	o.XLB, o.Only, o.Progress = binary, only, func(line string) { t.Log(line) }
	return o
}

// nothingLeft looks for what a comparison keeps outside its process.
func nothingLeft(t *testing.T) {
	t.Helper()
	for _, dir := range ownDirs() {
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
	executables, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range executables {
		if target, err := os.Readlink(e); err == nil && target == binary {
			t.Errorf("%s still runs xlb", filepath.Dir(e))
		}
	}
}

// TestCompare is one of each kind, end to end.
func TestCompare(t *testing.T) {
	only := []string{"nftables-jhash", "haproxy-1", "nginx-2", "xlb-nat-tc", "xlb-ipip-native"}
	o := options(t, only...)
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	nothingLeft(t)
	for _, p := range report.Problems() {
		t.Error(p)
	}
	var names []string
	for _, r := range report.Results {
		names = append(names, r.Name)
		for i, f := range []Figure{r.Connections, r.Requests, r.P50, r.P99, r.P999, r.Upload, r.Download} {
			if f.Median <= 0 || f.Min > f.Median || f.Max < f.Median {
				t.Errorf("%s: figure %d is %+v", r.Name, i, f)
			}
		}
		if report.Others.Max <= noisy && (r.ConnectionCPU.Median <= 0 || r.RequestCPU.Median <= 0) {
			t.Errorf("%s: CPU times %+v, %+v on a quiet machine", r.Name, r.ConnectionCPU, r.RequestCPU)
		}
		if r.P50.Median > r.P99.Median || r.P99.Median > r.P999.Median {
			t.Errorf("%s: percentiles %v, %v, %v", r.Name, r.P50, r.P99, r.P999)
		}
		total := 0.0
		for i, share := range r.Shares {
			total += share.Median
			if share.Median < 0.15 || share.Median > 0.35 {
				t.Errorf("%s: backend %d had %.3f of the connections, want a quarter", r.Name, i+1, share.Median)
			}
		}
		if len(r.Shares) != backends || math.Abs(total-1) > 1e-6 {
			t.Errorf("%s: shares %v", r.Name, r.Shares)
		}
	}
	if !slices.Equal(names, only) {
		t.Errorf("compared %v, want %v", names, only)
	}
	for _, print := range []func(Report, *bytes.Buffer) error{
		func(r Report, b *bytes.Buffer) error { return r.Text(b) },
		func(r Report, b *bytes.Buffer) error { return r.Markdown(b) },
	} {
		var out bytes.Buffer
		if err := print(report, &out); err != nil {
			t.Fatal(err)
		}
		for _, want := range append(names, report.Kernel, thousands(report.Results[0].Requests.Median)) {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is missing in\n%s", want, out.String())
			}
		}
	}
}

// TestInterrupted ends comparisons while they are set up and while they measure.
func TestInterrupted(t *testing.T) {
	for name, after := range map[string]time.Duration{
		"setting up": 100 * time.Millisecond,
		"measuring":  2 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, "xlb-nat-native")
			o.Seconds = 5
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o.Progress = func(string) { time.AfterFunc(after, cancel) }
			began := time.Now()
			if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want that it was canceled", err)
			}
			if took := time.Since(began); took > after+5*time.Second {
				t.Errorf("took %v to end", took)
			}
			nothingLeft(t)
		})
	}
}

// TestBrokenBalancer has a program in xlb's place that is none: the others must
// go on, and it must be said.
func TestBrokenBalancer(t *testing.T) {
	o := options(t, "route-direct-xdpcables", "xlb-nat-tc")
	o.XLB = "/bin/false"
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	nothingLeft(t)
	problems := report.Problems()
	if len(problems) != 1 || !strings.HasPrefix(problems[0], "xlb-nat-tc: start: the daemon ended") {
		t.Errorf("problems %q", problems)
	}
	if report.Results[0].Requests.Median == 0 || report.Results[1].Requests.Median != 0 {
		t.Errorf("figures %+v", report.Results)
	}
}

func TestChoose(t *testing.T) {
	for only, want := range map[string]string{
		"haproxy":           "haproxy-1 haproxy-2 haproxy-2-64k",
		"xlb-nat,haproxy-2": "haproxy-2 haproxy-2-64k xlb-nat-tc xlb-nat-native",
		"xlb,xlb-nat-tc": "xlb-nat-tc xlb-nat-native xlb-dnat-tc xlb-dnat-native xlb-l2dsr-tc xlb-l2dsr-native " +
			"xlb-ipip-tc xlb-ipip-native xlb-gue-tc xlb-gue-native",
		"haprox":                `no balancer "haprox"`,
		"nginx-1,xlb-nat-magic": `no balancer "xlb-nat-magic"`,
	} {
		chosen, err := choose(strings.Split(only, ","))
		if err != nil {
			if !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s: %v, want %s", only, err, want)
			}
			continue
		}
		var names []string
		for _, r := range chosen {
			names = append(names, r.name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %s, want %s", only, got, want)
		}
	}
}

// TestVerify breaks a right piece in every way that counts.
func TestVerify(t *testing.T) {
	before := []served{{5, 6}, {7, 8}, {9, 10}, {11, 12}}
	after := func(connections, requests uint64) []served {
		all := slices.Clone(before)
		for i := range all {
			all[i].connections += connections + 1
			all[i].requests += requests + 1
		}
		return all
	}
	nothing := after(100, 100)
	nothing[2] = served{10, 11}
	for _, c := range []struct {
		name      string
		after     []served
		requests  uint64
		keepAlive bool
		want      string
	}{
		{"connections", after(100, 100), 400, false, ""},
		{"some more under way", after(105, 105), 400, false, ""},
		{"requests", after(8, 1000), 4000, true, ""},
		{"one backend idle", nothing, 300, false, "backend 3 got nothing"},
		{"served elsewhere", after(100, 90), 400, false, "answered 360 requests, the client counted 400"},
		{"asked more than once", after(200, 200), 400, false, "answered 800 requests, the client counted 400"},
		{"kept alive", after(8, 100), 400, false, "32 connections for 400 requests"},
		{"not kept alive", after(100, 100), 400, true, "400 connections, want 32 that stay"},
	} {
		shares, err := verify(before, c.after, c.requests, c.keepAlive)
		switch {
		case c.want == "" && (err != nil || shares != [backends]float64{0.25, 0.25, 0.25, 0.25}):
			t.Errorf("%s: %v, shares %v", c.name, err, shares)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

func TestFigure(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Figure
	}{
		{nil, Figure{}},
		{[]float64{3, 1, 2}, Figure{2, 1, 3}},
		{[]float64{4, 1, 3, 2}, Figure{2.5, 1, 4}},
	} {
		if got := figure(c.values); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.values, got, c.want)
		}
	}
}

func TestThousands(t *testing.T) {
	for v, want := range map[float64]string{7: "7", 999.6: "1,000", 131287: "131,287", 1234567: "1,234,567"} {
		if got := thousands(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

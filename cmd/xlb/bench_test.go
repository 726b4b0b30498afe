package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestBenchJSON(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("loading BPF programs needs root")
	}
	out := xlb(t, "bench", "--quick", "--json", "--hook", "xdp", "--forward", "nat", "--scenario", "no-vip", "--scenario", "tcp4-reply-1").ok(t)
	var got struct {
		FloorNS float64                      `json:"floor_ns"`
		Results []map[string]json.RawMessage `json:"results"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if got.FloorNS <= 0 || len(got.Results) != 2 {
		t.Fatalf("%s", out)
	}
	for i, scenario := range []string{"no-vip", "tcp4-reply-1"} {
		r := got.Results[i]
		if string(r["hook"]) != `"xdp"` || string(r["forward"]) != `"nat"` || string(r["scenario"]) != `"`+scenario+`"` {
			t.Errorf("result %d: %s", i, out)
		}
		for _, name := range []string{"flows", "median_ns", "min_ns", "max_ns", "floor_ns", "ratio", "bare_ns", "bare_ratio"} {
			var n float64
			if err := json.Unmarshal(r[name], &n); err != nil {
				t.Errorf("%s of %s: %v", name, scenario, err)
			}
		}
	}
}

func TestBenchTable(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("loading BPF programs needs root")
	}
	out := lines(xlb(t, "bench", "--quick", "--repeat", "1000", "--hook", "tc", "--forward", "l2dsr", "--scenario", "tcp4-hit-1").ok(t))
	if len(out) < 3 || !strings.HasPrefix(out[0], "HOOK") || !strings.HasPrefix(out[1], "tc    l2dsr    tcp4-hit-1") ||
		!strings.Contains(out[len(out)-1], "1 result, 1 round, of 1000 packets each") {
		t.Errorf("%s", strings.Join(out, "\n"))
	}
}

func TestBenchUsage(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--rounds 0", "--rounds is 0 (want 1 to 1000)"},
		{"--repeat 10", "--repeat is 10 (want 1000 to 1000000000)"},
		{"--forward l2dsr --scenario tcp4-reply-1", "nothing to measure: l2dsr, tcp4-reply-1 do not go together"},
		{"--hook tc --forward gue", "nothing to measure: tc, gue do not go together"},
		{"--scenario tcp5", `"tcp5" is not a valid value for --scenario (only this NAME, repeatable: no-vip, tcp4-hit-1`},
		{"--hook lan", `"lan" is not a valid value for --hook (only this HOOK, repeatable: xdp, tc)`},
	} {
		r := xlb(t, append([]string{"bench"}, strings.Fields(c.args)...)...)
		if r.status != exitUsage || !strings.Contains(r.stderr, c.want) || r.stdout != "" {
			t.Errorf("xlb bench %s: exit status %d, stderr %q", c.args, r.status, r.stderr)
		}
	}
}

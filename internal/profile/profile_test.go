package profile

import (
	"math"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/internal/bench"
	"github.com/xlb-io/xlb/pkg/model"
)

// Every sample in the data plane is in some file, and each stage that a packet of
// nat passes has some.
func TestRun(t *testing.T) {
	if _, err := exec.LookPath("perf"); err != nil {
		t.Skip("needs perf")
	}
	o := bench.Defaults()
	o.Rounds = 3
	o.Forwards, o.Scenarios = []model.Forward{model.NAT}, []string{"tcp4-hit-100k"}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, s := range r.Files {
		sum += s.Percent
		if s.Helpers > s.Percent {
			t.Errorf("%+v", s)
		}
	}
	if math.Abs(sum-100) > 2 {
		t.Errorf("shares are %.1f %% together", sum)
	}
	for _, file := range []string{"parse.h", "vips.h", "create.h", "nexthop.h", "rewrite.h", "stats.h"} {
		if !slices.ContainsFunc(r.Files, func(s Share) bool { return s.File == file && s.Percent > 0 }) {
			t.Errorf("no sample in %s: %+v", file, r.Files)
		}
	}
	if !slices.ContainsFunc(r.Lines, func(s Share) bool { return s.Helpers > 0 && strings.Contains(s.Text, "ktime") }) {
		t.Errorf("no sample in the kernel's clock, which is a helper: %+v", r.Lines)
	}
	var text strings.Builder
	if err := r.Text(&text, 3); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nvips.h ", "\nxlb_xdp ", "tcp4-hit-100k"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in:\n%s", want, text.String())
		}
	}
}

// A scenario that there is not is an error, and leaves no perf behind.
func TestNoScenario(t *testing.T) {
	o := bench.Quick()
	o.Forwards, o.Scenarios = []model.Forward{model.L2DSR}, []string{"tcp4-reply-1"}
	if _, err := Run(t.Context(), o); err == nil {
		t.Error("profiled replies of l2dsr, which has none")
	}
	o.Scenarios = nil
	if _, err := Run(t.Context(), o); err == nil {
		t.Error("profiled all scenarios at once")
	}
}

// An address is in the last statement that begins before it.
func TestAt(t *testing.T) {
	i := image{statements: []statement{{begin: 10, end: 10}, {begin: 10, end: 20}, {begin: 20, end: 25}, {begin: 40, end: 50}}}
	for at, want := range map[uint64]int{9: -1, 10: 1, 19: 1, 20: 2, 24: 2, 25: -1, 39: -1, 40: 3, 49: 3, 50: -1} {
		if got := i.at(at); got != want {
			t.Errorf("%d is in statement %d, not %d", at, got, want)
		}
	}
}

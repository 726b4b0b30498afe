package bench

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// Every scenario, on each hook and in each mode, is what it says.
func TestRun(t *testing.T) {
	o := Quick()
	done := 0
	o.Done = func(r Result) {
		done++
		t.Logf("%-4s %-6s %-16s %8.1f  floor %.1f", r.Hook, r.Forward, r.Scenario, r.MedianNS, r.FloorNS)
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if want := 2 * (10 + 8); len(r.Results) != want || done != want {
		t.Errorf("%d results, %d told of, want %d", len(r.Results), done, want)
	}
	_ = json.Valid
	_ = errors.Is
	_ = context.Canceled
	_ = strings.Contains
}

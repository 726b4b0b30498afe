package main

import (
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/api"
)

// A service's own page says what becomes of connections that fail.
func TestFailingLines(t *testing.T) {
	text := func(f *api.Failing) string {
		var b strings.Builder
		for _, l := range failingLines(f) {
			b.WriteString(strings.TrimSpace(l[0]+" "+l[1]) + "\n")
		}
		return b.String()
	}
	same(t, text(nil), "")
	same(t, text(&api.Failing{SynRetry: 1}), "syn_retry up to 1 other backend")
	same(t, text(&api.Failing{SynRetry: 3, Eject: &api.Eject{
		Failures: 50, MinAttempts: 20, WindowSeconds: 10, Consecutive: 5, Resets: 40, TimeSeconds: 30, MaxTimeSeconds: 600, MaxEjected: 50, Trials: 5, TrialWeight: 10,
	}}), `
eject after 5 failures in a row, when 50% of at least 20 connections in 10s fail, or 40% are reset
for 30s, each time twice as long, up to 10m; 50% of the backends at most
then 5 connections with 10% of its weight
syn_retry up to 3 other backends
`)
}

package model

import (
	"testing"
	"time"
)

func TestDurationText(t *testing.T) {
	for text, d := range map[string]time.Duration{
		"0s": 0, "10s": 10 * time.Second, "1m": time.Minute, "1h": time.Hour, "1h30m": 90 * time.Minute,
		"1h0m5s": time.Hour + 5*time.Second, "100ms": 100 * time.Millisecond, "10m": 10 * time.Minute,
	} {
		if got := DurationText(d); got != text {
			t.Errorf("%v: %q, want %q", d, got, text)
		}
	}
}

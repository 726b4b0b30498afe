package policy

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
)

func TestLogRate(t *testing.T) {
	l := &testlab.Buffer{}
	now := time.Hour
	log := newLogger(slog.New(slog.NewTextHandler(l, nil)), "p", func() time.Duration { return now })
	for range logBurst + 7 {
		log.write(slog.LevelInfo, []byte("line"))
	}
	log.write(slog.LevelDebug, []byte("not enabled"))
	if lines, suppressed := log.counts(); lines != logBurst || suppressed != 7 {
		t.Errorf("%d lines, %d suppressed", lines, suppressed)
	}
	now += 2 * time.Second
	for range 2*logRate + 1 {
		log.write(slog.LevelWarn, []byte("later\n"))
	}
	if lines, suppressed := log.counts(); lines != logBurst+2*logRate || suppressed != 8 {
		t.Errorf("%d lines, %d suppressed", lines, suppressed)
	}
	if line := oneOf(l.String(), "later"); !strings.HasSuffix(line, "level=WARN msg=later policy=p suppressed=7") {
		t.Errorf("%q", line)
	}
}

// TestLogText: what a policy logs is one line, whatever is in it.
func TestLogText(t *testing.T) {
	for in, want := range map[string]string{
		"a\nb\x00\x7f\xffc\n":     "a?b???c",
		strings.Repeat("x", 2000): strings.Repeat("x", maxLine) + "…",
		strings.Repeat("ä", 600):  strings.Repeat("ä", 512) + "…",
		"":                        "",
	} {
		if got := printable(in, maxLine); got != want {
			t.Errorf("%q becomes %q", in, got)
		}
	}
}

// TestLines: what is printed is logged line by line.
func TestLines(t *testing.T) {
	l := &testlab.Buffer{}
	log := newLogger(slog.New(slog.NewTextHandler(l, nil)), "p", func() time.Duration { return 0 })
	s := &lines{}
	for _, part := range []string{"one", " line\n\nand ", strings.Repeat("y", 3000), "\nrest"} {
		s.write(log, slog.LevelInfo, []byte(part))
	}
	if lines, _ := log.counts(); lines != 2 || !strings.Contains(l.String(), `msg="one line"`) || strings.Contains(l.String(), "rest") {
		t.Errorf("%q", l.String())
	}
}

func TestHistogram(t *testing.T) {
	h := &histogram{}
	if h.quantile(0.5) != 0 {
		t.Error("an empty one has a median")
	}
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Microsecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Microsecond, 0.99: 990 * time.Microsecond, 1: time.Millisecond} {
		if got := h.quantile(q); got < want || got > want*5/4+time.Microsecond {
			t.Errorf("the %v quantile is %v, want %v", q, got, want)
		}
	}
	last := time.Duration(-1)
	for i := range h.buckets {
		if upper(i) <= last || bucket(upper(i)) != i || i > 0 && bucket(last+1) != i {
			t.Fatalf("bucket %d ends at %v, the one before at %v", i, upper(i), last)
		}
		last = upper(i)
	}
	h.add(0)
	h.add(1 << 62)
}

package policy

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Each policy may log logBurst lines at once and logRate lines a second, of maxLine
// bytes.
const (
	logRate  = 10
	logBurst = 50
	maxLine  = 1024
)

// logger writes what a policy logs, as long as it is not too much.
type logger struct {
	log *slog.Logger
	now func() time.Duration

	mu         sync.Mutex
	tokens     float64
	filled     time.Duration
	lines      uint64
	suppressed uint64
	missing    uint64 // suppressed since the last line
}

func newLogger(log *slog.Logger, policy string, now func() time.Duration) *logger {
	return &logger{log: log.With("policy", policy), now: now, tokens: logBurst, filled: now()}
}

// levels are those of the ABI, by number.
var levels = [...]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}

// write logs a line. The text is not kept.
func (l *logger) write(level slog.Level, text []byte) {
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	ok, missing := l.take()
	if !ok {
		return
	}
	var more []any
	if missing > 0 {
		more = append(more, "suppressed", missing)
	}
	l.log.Log(context.Background(), level, printable(string(text[:min(len(text), maxLine+1)]), maxLine), more...)
}

// take says whether a line may be written, and how many before it were not.
func (l *logger) take() (ok bool, missing uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.tokens = min(logBurst, l.tokens+logRate*(now-l.filled).Seconds())
	l.filled = now
	if l.tokens < 1 {
		l.suppressed++
		l.missing++
		return false, 0
	}
	l.tokens--
	l.lines++
	missing, l.missing = l.missing, 0
	return true, missing
}

func (l *logger) counts() (lines, suppressed uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines, l.suppressed
}

// lines gathers what a module writes to a standard stream until the line ends.
type lines struct{ b []byte }

func (s *lines) write(l *logger, level slog.Level, data []byte) {
	for _, c := range data {
		if c != '\n' {
			if len(s.b) <= maxLine {
				s.b = append(s.b, c)
			}
			continue
		}
		if len(s.b) > 0 {
			l.write(level, s.b)
		}
		s.b = s.b[:0]
	}
}

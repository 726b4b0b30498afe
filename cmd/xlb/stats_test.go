package main

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
)

func TestStats(t *testing.T) {
	newSample().start(t)
	same(t, xlb(t, "stats").ok(t), `
REASON           PACKETS     BYTES
tx                 1.50M  3.00 GiB
drop_no_backend       12     720 B

EVENT         COUNT
flow_created     99

SERVICE  FLOWS  NEW  REQUESTS     BYTES  REPLIES     BYTES  DROPPED
web      12.4k   99      700k  1.00 GiB     800k  2.00 GiB       12

SERVICE  BACKEND         FLOWS  NEW  REQUESTS     BYTES  REPLIES  BYTES  DROPPED
web      10.0.0.11:8080  12.3k   99      700k  1.00 GiB        0    0 B        0
`)
	all := xlb(t, "stats", "--all", "--no-backends").ok(t)
	if !strings.Contains(all, "pass_ttl") || !strings.Contains(all, "flow_evicted") || strings.Contains(all, "10.0.0.11") {
		t.Errorf("--all --no-backends prints\n%s", all)
	}
	if got := decode[api.Stats](t, xlb(t, "stats", "--json").ok(t)); len(got.Reasons) != 3 {
		t.Errorf("JSON: %+v", got)
	}
	xlb(t, "stats", "--service", "wbe").fails(t, 1, `xlb: there is no service "wbe" (did you mean web?)`)
}

// Services that count outcomes have them in tables of their own.
func TestStatsOfOutcomes(t *testing.T) {
	s := newSample()
	s.stats.Services[0].Outcomes = &api.Outcomes{Attempts: 1234, Answered: 1200, Refused: 30, Unanswered: 4, Retried: 34}
	s.stats.Backends[0].Outcomes = &api.Outcomes{Attempts: 600, Answered: 600, Reset: 2, HandshakeSeconds: 0.00123}
	s.start(t)
	out := xlb(t, "stats").ok(t)
	const want = `
SERVICE  ATTEMPTS  ANSWERED  REFUSED  UNANSWERED  RESET  RETRIED
web          1234      1200       30           4      0       34

SERVICE  BACKEND         ATTEMPTS  ANSWERED  REFUSED  UNANSWERED  RESET  RETRIED  HANDSHAKE
web      10.0.0.11:8080       600       600        0           0      2        0     1.23ms
`
	if !strings.HasSuffix(out, want) {
		t.Errorf("printed\n%s\nwant at its end\n%s", out, want)
	}
}

func TestStatsOfNothing(t *testing.T) {
	s := newSample()
	s.stats = api.Stats{Reasons: []api.Counter{{Name: "tx"}}, Services: []api.ServiceStats{{Service: "web"}}}
	s.start(t)
	if out := xlb(t, "stats", "--no-backends").ok(t); !strings.HasPrefix(out, "no packets were seen\n") {
		t.Errorf("got\n%s", out)
	}
}

// screen collects output and says when enough has come.
type screen struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	marker string
	times  int
	stop   context.CancelFunc
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.Write(p)
	if bytes.Count(s.buf.Bytes(), []byte(s.marker)) >= s.times {
		s.stop()
	}
	return len(p), nil
}

// watched runs a command until it has printed the marker so many times, as
// someone does who then presses Ctrl-C.
func watched(t *testing.T, e env, marker string, times int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out := &screen{marker: marker, times: times, stop: cancel}
	e.stdout = out
	xlbIn(t, ctx, e, args...).ok(t)
	if n := strings.Count(out.buf.String(), marker); n < times {
		t.Fatalf("printed %d times in 20 s, not %d:\n%s", n, times, out.buf.String())
	}
	return out.buf.String()
}

func TestWatch(t *testing.T) {
	newSample().start(t)
	out := watched(t, env{}, "rates over", 2, "stats", "--watch", "100ms", "--no-backends")
	if strings.Contains(out, "\x1b") {
		t.Errorf("control sequences in a pipe: %q", out)
	}
	block := `12:00:01, rates over 1s

REASON  PACKETS         BITS
tx      1.00k/s  1.00 Mbit/s

SERVICE  FLOWS  NEW  REQUESTS     BITS  REPLIES     BITS  DROPPED
web      12.4k  0/s     500/s  0 bit/s      0/s  0 bit/s      0/s
`
	same(t, out, block+"\n"+strings.Replace(block, "12:00:01", "12:00:02", 1))
}

func TestWatchJSON(t *testing.T) {
	newSample().start(t)
	out := lines(watched(t, env{}, "\n", 3, "stats", "-w", "100ms", "--json"))
	for _, line := range out {
		r := decode[rates](t, line)
		if r.Seconds != 1 || r.Reasons[0].Packets != 1000 || r.Reasons[0].Bytes != 125000 || r.Services[0].Request.Packets != 500 {
			t.Errorf("rates %s", line)
		}
	}
}

func TestWatchRedrawsOnATerminal(t *testing.T) {
	newSample().start(t)
	const clear = "\x1b[H\x1b[2J"
	out := watched(t, env{isTerminal: true, width: 60}, clear, 2, "stats", "--watch", "100ms")
	if !strings.HasPrefix(out, "measuring for 100ms") {
		t.Errorf("nothing is said while the first interval lasts: %q", out)
	}
}

// Watching goes on over a restart of the daemon only if there are pinned maps;
// without them it must end with an error.
func TestWatchEndsWithTheDaemon(t *testing.T) {
	s := newSample()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	t.Run("daemon", func(t *testing.T) { s.start(t) }) // and stop
	noDaemon(t)
	if r := xlbIn(t, ctx, env{}, "stats", "--watch"); r.status != exitFailed || ctx.Err() != nil {
		t.Errorf("%+v", r)
	}
}

func TestRates(t *testing.T) {
	for _, c := range []struct {
		before, now uint64
		seconds     float64
		want        float64
	}{{0, 10, 2, 5}, {10, 10, 1, 0}, {100, 10, 1, 10}, {0, 10, 0, 0}} {
		if got := perSecond(c.before, c.now, c.seconds); got != c.want {
			t.Errorf("perSecond(%d, %d, %v) is %v, want %v", c.before, c.now, c.seconds, got, c.want)
		}
	}
}

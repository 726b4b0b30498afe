package probe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// network is a set of backends in memory. Each dial is answered by the next of
// the address's outcomes; the last one repeats.
type network struct {
	mu       sync.Mutex
	outcomes map[string]string // '.' connects, 'h' hangs until cancelled, others refuse with that letter
	dials    map[string][]time.Time
	hanging  int
	most     int // of the hanging ones, ever
}

func newNetwork(outcomes map[string]string) *network {
	return &network{outcomes: outcomes, dials: make(map[string][]time.Time)}
}

func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	script := n.outcomes[address]
	i := min(len(n.dials[address]), len(script)-1)
	n.dials[address] = append(n.dials[address], time.Now())
	if script[i] == 'h' {
		n.hanging++
		n.most = max(n.most, n.hanging)
	}
	n.mu.Unlock()
	switch script[i] {
	case '.':
		conn, peer := net.Pipe()
		peer.Close()
		return conn, nil
	case 'h':
		<-ctx.Done()
		n.mu.Lock()
		n.hanging--
		n.mu.Unlock()
		return nil, ctx.Err()
	default:
		return nil, errors.New(string(script[i]))
	}
}

func (n *network) dialed(address string) []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.dials[address])
}

// hung returns how many dials hang now, and how many did at most.
func (n *network) hung() (now, most int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hanging, n.most
}

// recorder collects changes as text: "service address state reason", with a
// "=" in front when only the reason changed.
type recorder struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorder) add(n Result) {
	line := strings.TrimSpace(fmt.Sprintf("%s %s %s %s", n.Target.Service, n.Target.Backend, n.Health.State,
		strings.TrimPrefix(n.Health.Reason, "connect: ")))
	if !n.Changed {
		line = "=" + line
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

// take returns what came since the last call.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

func (r *recorder) want(t *testing.T, what string, want ...string) {
	t.Helper()
	if got := r.take(); !slices.Equal(got, want) {
		t.Errorf("%s: changes %q, want %q", what, got, want)
	}
}

var quiet = slog.New(slog.DiscardHandler)

const (
	a = "10.0.0.1:80"
	b = "10.0.0.2:80"
)

// start returns a runner over n whose changes go to rec.
func start(n *network, rec *recorder, parallel int) *Runner {
	return NewRunner(Options{Probing: model.Probing{Workers: parallel}, Log: quiet, Dial: n.dial, OnChange: rec.add})
}

package discovery

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// Options of a [Manager]. The zero value runs static sources.
type Options struct {
	// New makes the source of a service; nil means [Static].
	New func(model.Service) ServiceSource
	// MinBackoff and MaxBackoff bound the pause, doubled each time and with
	// ±10 % jitter, before a source that returned is run again; 0 means 1 s
	// and 1 min. A run that lasted MaxBackoff starts over at MinBackoff.
	MinBackoff, MaxBackoff time.Duration
	// Log is told of failed sources; nil means [slog.Default].
	Log *slog.Logger
}

// Manager runs the sources of all services. Its methods may be called at the
// same time.
type Manager struct {
	opts    Options
	updates chan Update
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	workers map[string]*worker
}

// worker runs the source of one service.
type worker struct {
	service model.Service
	cancel  context.CancelFunc
	stopped bool          // cancelled because its service is gone
	done    chan struct{} // closed when it has sent its last update
}

func (w *worker) ended() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// NewManager returns a manager without services. The caller receives from
// [Manager.Updates] and at the end calls [Manager.Close].
func NewManager(opts Options) *Manager {
	if opts.New == nil {
		opts.New = Static
	}
	if opts.MinBackoff <= 0 {
		opts.MinBackoff = time.Second
	}
	if opts.MaxBackoff <= 0 {
		opts.MaxBackoff = time.Minute
	}
	opts.MaxBackoff = max(opts.MaxBackoff, opts.MinBackoff)
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	return &Manager{opts: opts, updates: make(chan Update), workers: make(map[string]*worker)}
}

// Updates is where all sources send. While nobody receives, they wait. It is
// never closed.
func (m *Manager) Updates() <-chan Update { return m.updates }

// Apply makes services the set that is watched: it starts the sources of new
// services, stops those of missing ones and replaces those of services whose
// backends are defined in another way. The others are not disturbed and send
// nothing. Of services with the same name the last counts.
//
// Apply does not wait. An update of a stopped source may still arrive after it,
// but never after the first update of the source that replaces it. After Close
// it does nothing.
func (m *Manager) Apply(services []model.Service) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	wanted := make(map[string]model.Service, len(services))
	for _, s := range services {
		wanted[s.Name] = s
	}
	for name, w := range m.workers {
		if _, ok := wanted[name]; ok {
			continue
		}
		w.cancel()
		w.stopped = true
		// One that has not ended yet stays, so that a successor waits for it.
		if w.ended() {
			delete(m.workers, name)
		}
	}
	for name, s := range wanted {
		old := m.workers[name]
		if old != nil && !old.stopped && sameSource(old.service, s) {
			continue
		}
		var before <-chan struct{}
		if old != nil {
			old.cancel()
			before = old.done
		}
		m.workers[name] = m.start(s, before)
	}
}

// Close stops all sources and waits for them. Later calls do the same.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	for name, w := range m.workers {
		w.cancel()
		delete(m.workers, name)
	}
	m.mu.Unlock()
	m.running.Wait()
}

// sameSource tells whether a source of a would find the same as one of b. It
// compares all that sources read, and nothing else: a new probe or timeout is
// no reason to ask for the backends again.
func sameSource(a, b model.Service) bool {
	return a.Name == b.Name && slices.Equal(a.Backends, b.Backends)
}

// start runs the source of s once before, when not nil, is closed.
func (m *Manager) start(s model.Service, before <-chan struct{}) *worker {
	s.Backends = slices.Clone(s.Backends)
	ctx, cancel := context.WithCancel(context.Background())
	w := &worker{service: s, cancel: cancel, done: make(chan struct{})}
	m.running.Go(func() {
		defer close(w.done)
		if before != nil {
			<-before
		}
		m.run(ctx, s)
	})
	return w
}

// run keeps the source of s running until ctx ends.
func (m *Manager) run(ctx context.Context, s model.Service) {
	pause := m.opts.MinBackoff
	for ctx.Err() == nil {
		source := m.opts.New(s)
		started := time.Now()
		err := source.Run(ctx, m.updates)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("ended without an error")
		}
		if time.Since(started) >= m.opts.MaxBackoff {
			pause = m.opts.MinBackoff
		}
		wait := jitter(pause)
		m.opts.Log.Warn("discovery source failed, its last backends stay in use",
			"service", s.Name, "source", source.String(), "error", err, "retry_in", wait.Round(time.Millisecond))
		select {
		case m.updates <- Update{Service: s.Name, Source: source.String(), Err: err, At: time.Now()}:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, m.opts.MaxBackoff)
	}
}

// jitter returns d ±10 %, so that sources which lost the same server do not
// come back to it all at once.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// ServiceSource finds the backends of one service.
type ServiceSource interface {
	// Run sends a full snapshot each time the backends change, the first one
	// as soon as it knows them, until ctx ends.
	Run(ctx context.Context, updates chan<- Update) error
	// String names the kind of source, in lower case: "static".
	String() string
}

// Update is what a source found.
type Update struct {
	Service string
	// Source is the kind of the source, by its name.
	Source string
	// Backends is the whole set, in the source's order. The receiver must not
	// change it.
	Backends []model.Backend
	// Err, when not nil, says that the source has failed; Backends is then
	// empty, and the last snapshot stays valid.
	Err error
	// At is when the source found it.
	At time.Time
}

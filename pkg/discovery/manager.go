package discovery

import (
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// Options of a [Manager].
type Options struct {
	// New makes a source; nil means [New].
	New func(model.Source) Source
	// MinBackoff and MaxBackoff bound the pause, doubled each time and with
	// ±10 % jitter, before a source that failed is run again; 0 means 1 s and
	// 30 s. A run that answered and lasted as long as the pause before it starts
	// over at MinBackoff.
	MinBackoff, MaxBackoff time.Duration
	// Cache is a file that keeps the last answers over a restart; none if empty.
	Cache string
	// Log is told of failed sources and of backends left out; nil means
	// [slog.Default].
	Log *slog.Logger
}

// Manager runs the sources of all services and knows what they found last. Its
// methods may be called at the same time.
type Manager struct {
	opts    Options
	changed chan struct{} // holds one: dirty is not empty
	running sync.WaitGroup
	cache   *cache

	mu        sync.Mutex
	closed    bool
	services  map[string]*watched
	frontends map[model.Frontend]string // of all services, with their names
	dirty     map[string]bool           // services of which Take has something to say
	ending    map[workerKey]chan struct{}
}

// watched is a service and its sources.
type watched struct {
	service  model.Service
	workers  map[string]*worker // by the source's name
	warnings []string           // of the last joining
}

type workerKey struct{ service, source string }

// Update is what is known of the backends of a service.
type Update struct {
	Service string
	// Backends are those that the configuration lists and those found, without
	// those that cannot be used. The receiver must not change them.
	Backends []model.Backend
}

// NewManager returns a manager without services. At the end the caller calls
// [Manager.Close].
func NewManager(opts Options) *Manager {
	if opts.New == nil {
		opts.New = New
	}
	if opts.MinBackoff <= 0 {
		opts.MinBackoff = time.Second
	}
	if opts.MaxBackoff <= 0 {
		opts.MaxBackoff = 30 * time.Second
	}
	opts.MaxBackoff = max(opts.MaxBackoff, opts.MinBackoff)
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	m := &Manager{
		opts: opts, changed: make(chan struct{}, 1),
		services: map[string]*watched{}, dirty: map[string]bool{}, ending: map[workerKey]chan struct{}{},
	}
	if opts.Cache != "" {
		m.cache = openCache(opts.Cache, opts.Log)
	}
	return m
}

// Apply makes services the set that is watched: it starts the sources that are
// new, stops those that are missing, and replaces those that are defined in
// another way. The others are not disturbed. What a source found that is
// replaced stays in use until the one of the same name that replaces it has
// found something. After it [Manager.Take] has a word on every service.
//
// Apply does not wait. After Close it does nothing.
func (m *Manager) Apply(services []model.Service) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	before := m.services
	m.services, m.frontends = make(map[string]*watched, len(services)), frontendsOf(services)
	clear(m.dirty)
	for _, s := range services {
		old := before[s.Name]
		delete(before, s.Name)
		now := &watched{service: s, workers: make(map[string]*worker, len(s.Sources))}
		if old != nil {
			now.warnings = old.warnings
		}
		m.services[s.Name] = now
		for _, source := range s.Sources {
			var w *worker
			if old != nil {
				w = old.workers[source.Name]
				delete(old.workers, source.Name)
			}
			if w == nil || !reflect.DeepEqual(w.definition, source) {
				w = m.start(s.Name, source, w)
			}
			now.workers[source.Name] = w
		}
		if old != nil {
			stopAll(old.workers)
		}
		m.markDirty(s.Name)
	}
	for _, gone := range before {
		stopAll(gone.workers)
	}
	if m.cache != nil {
		m.cache.retain(m.services)
	}
}

func stopAll(workers map[string]*worker) {
	for _, w := range workers {
		w.stop()
	}
}

// Changed receives when [Manager.Take] has something to say.
func (m *Manager) Changed() <-chan struct{} { return m.changed }

// Take returns the services whose backends may have changed since the last
// call.
func (m *Manager) Take() []Update {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Update, 0, len(m.dirty))
	for _, name := range slices.Sorted(maps.Keys(m.dirty)) {
		w := m.services[name]
		backends, warnings := join(w.service, m.frontends, w.answer)
		for _, text := range warnings {
			if !slices.Contains(w.warnings, text) {
				m.opts.Log.Warn(text)
			}
		}
		w.warnings = warnings
		out = append(out, Update{Service: name, Backends: backends})
	}
	clear(m.dirty)
	return out
}

// Complete says whether every source has answered or failed.
func (m *Manager) Complete() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.services {
		for _, w := range s.workers {
			if !w.spoken {
				return false
			}
		}
	}
	return true
}

// Preview returns the backends that services would have if they were applied
// now, by the names of the services.
func (m *Manager) Preview(services []model.Service) map[string][]model.Backend {
	m.mu.Lock()
	defer m.mu.Unlock()
	frontends := frontendsOf(services)
	out := make(map[string][]model.Backend, len(services))
	for _, s := range services {
		out[s.Name], _ = join(s, frontends, func(source string) []model.Backend {
			if w := m.services[s.Name]; w != nil {
				return w.answer(source)
			}
			return nil
		})
	}
	return out
}

// Unanswered returns, in words, the sources of services of which nothing is
// known yet.
func (m *Manager) Unanswered(services []model.Service) (out []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range services {
		for _, source := range s.Sources {
			if w := m.services[s.Name]; w == nil || w.workers[source.Name] == nil || w.workers[source.Name].at.IsZero() {
				out = append(out, fmt.Sprintf("service %q: source %q has not answered yet", s.Name, source.Name))
			}
		}
	}
	return out
}

// Close stops all sources and waits for them. Later calls do the same.
func (m *Manager) Close() {
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		for _, s := range m.services {
			stopAll(s.workers)
		}
	}
	m.mu.Unlock()
	m.running.Wait()
	if m.cache != nil {
		m.cache.close()
	}
}

// answer is what the source of that name found last.
func (w *watched) answer(source string) []model.Backend {
	if one := w.workers[source]; one != nil {
		return one.answer
	}
	return nil
}

// markDirty makes Take look at a service. The caller holds the lock.
func (m *Manager) markDirty(service string) {
	m.dirty[service] = true
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

func frontendsOf(services []model.Service) map[model.Frontend]string {
	all := map[model.Frontend]string{}
	for _, s := range services {
		for _, f := range s.Frontends {
			all[f] = s.Name
		}
	}
	return all
}

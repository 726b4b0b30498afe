package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	gomaps "maps"
	"os"
	"slices"
	"sync"

	"github.com/xlb-io/xlb/pkg/model"
)

// Options of a [Notifier].
type Options struct {
	// Log is told of hooks that fail and of changes that are lost; nil means
	// [slog.Default].
	Log *slog.Logger
	// Queue is how many changes wait for one hook at most; 0 means 1024.
	Queue int
}

// Notifier tells hooks. Its methods may be called at the same time.
type Notifier struct {
	log   *slog.Logger
	limit int
	host  string
	web   sender

	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	hooks   map[string]*hook   // by what they are
	of      map[string][]*hook // by service
	leaving []*hook            // ended, and perhaps still at work
	before  map[string]Stats   // of hooks that are over, by name
}

// Stats are what became of a hook's changes.
type Stats struct {
	// Name is [model.Hook.Name]; hooks of one name are counted together.
	Name string
	// Told and Failed count changes; Dropped those that found the queue full or
	// waited when the hook was removed; Retried counts requests that were sent
	// again.
	Told, Failed, Dropped, Retried uint64
	// Waiting is how many changes wait now, the one included that is being told.
	Waiting int
	// Error is why the last change was not told; empty if it was.
	Error string
}

// New returns a notifier without hooks. The caller calls [Notifier.Close].
func New(o Options) *Notifier {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	host, _ := os.Hostname() // without one it is empty
	n := &Notifier{
		log: o.Log, limit: cmp.Or(o.Queue, 1024), host: host, web: newSender(),
		hooks: map[string]*hook{}, of: map[string][]*hook{}, before: map[string]Stats{},
	}
	n.ctx, n.stop = context.WithCancel(context.Background())
	return n
}

// Apply makes the hooks of services those that are told. Equal hooks are one, also
// if they are of several services, and a hook that stays keeps its queue. What waits
// for one that goes is dropped.
func (n *Notifier) Apply(services []model.Service) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil {
		return
	}
	hooks, of := map[string]*hook{}, map[string][]*hook{}
	for _, s := range services {
		for _, spec := range s.OnChange {
			key := keyOf(spec)
			h := hooks[key]
			if h == nil {
				if h = n.hooks[key]; h == nil {
					h = n.newHook(spec)
				}
				hooks[key] = h
			}
			if !slices.Contains(of[s.Name], h) {
				of[s.Name] = append(of[s.Name], h)
			}
		}
	}
	for key, h := range n.hooks {
		if hooks[key] == nil {
			h.end()
			n.leaving = append(n.leaving, h)
		}
	}
	n.hooks, n.of = hooks, of
	n.forget()
}

// forget keeps of hooks that are over what was counted. The caller holds mu.
func (n *Notifier) forget() {
	n.leaving = slices.DeleteFunc(n.leaving, func(h *hook) bool {
		s, busy := h.counted()
		if !busy {
			s.Error = ""
			n.before[s.Name] = s.and(n.before[s.Name])
		}
		return !busy
	})
}

// keyOf is the same for hooks that are the same.
func keyOf(h model.Hook) string {
	text, err := json.Marshal(h)
	if err != nil {
		panic(err) // of texts and numbers
	}
	return string(text)
}

// Tell hands a change to the hooks of its service that want it. It does not wait.
func (n *Notifier) Tell(c Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil {
		return
	}
	c.Version, c.Host = version, n.host
	for _, h := range n.of[c.Service] {
		if h.spec.Wants(c.Event) {
			h.add(c)
		}
	}
}

// Stats returns what became of changes, by name.
func (n *Notifier) Stats() []Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forget()
	all := gomaps.Clone(n.before)
	for _, h := range slices.AppendSeq(slices.Clone(n.leaving), gomaps.Values(n.hooks)) {
		s, _ := h.counted()
		all[s.Name] = s.and(all[s.Name])
	}
	out := make([]Stats, 0, len(all))
	for _, s := range all {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Stats) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// and adds what was counted of another hook of the name.
func (s Stats) and(o Stats) Stats {
	s.Told, s.Failed, s.Dropped, s.Retried = s.Told+o.Told, s.Failed+o.Failed, s.Dropped+o.Dropped, s.Retried+o.Retried
	s.Waiting += o.Waiting
	s.Error = cmp.Or(s.Error, o.Error)
	return s
}

// Close ends what is being told, kills the programs that run, and waits for them.
// What waits is not told, which the log says.
func (n *Notifier) Close() {
	n.mu.Lock()
	for _, h := range n.hooks {
		h.end()
	}
	n.stop()
	n.mu.Unlock()
	n.running.Wait()
	n.web.close()
}

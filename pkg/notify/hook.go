package notify

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// logEvery is the least time between two lines of a hook in the log about changes
// that it lost.
const logEvery = time.Minute

// hook is a hook with its queue. A goroutine tells it while there is something to
// tell.
type hook struct {
	spec   model.Hook
	parent *Notifier
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	queue  []Change // the first is being told
	busy   bool     // the goroutine runs
	gone   bool     // nothing is added any more
	stats  Stats
	logged time.Time // of a loss
}

func (n *Notifier) newHook(spec model.Hook) *hook {
	h := &hook{spec: spec, parent: n, log: n.log.With("hook", spec.Name()), stats: Stats{Name: spec.Name()}}
	h.ctx, h.cancel = context.WithCancel(n.ctx)
	return h
}

// add queues a change. A queue that is full loses the oldest that is not being told:
// the newest tell what is.
func (h *hook) add(c Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return
	}
	if len(h.queue) > h.parent.limit {
		h.queue = append(h.queue[:1], h.queue[2:]...)
		h.drop(1)
	}
	h.queue = append(h.queue, c)
	if !h.busy {
		h.busy = true
		h.parent.running.Go(h.work)
	}
}

// drop counts changes that were lost. The caller holds mu.
func (h *hook) drop(n int) {
	h.stats.Dropped += uint64(n)
	if now := time.Now(); now.Sub(h.logged) >= logEvery {
		h.logged = now
		h.log.Warn("changes of backends were not told: more wait for the hook than its queue holds", "dropped", h.stats.Dropped)
	}
}

// work tells changes until none waits.
func (h *hook) work() {
	for {
		h.mu.Lock()
		if len(h.queue) == 0 {
			h.busy = false
			h.mu.Unlock()
			return
		}
		c := h.queue[0]
		h.mu.Unlock()
		retried, err := h.tell(c)
		h.mu.Lock()
		h.count(c, retried, err)
		h.mu.Unlock()
	}
}

// tell tells one change.
func (h *hook) tell(c Change) (retried int, err error) {
	if len(h.spec.Command) > 0 {
		return 0, run(h.ctx, h.spec, c)
	}
	return h.parent.web.post(h.ctx, h.spec, c)
}

// count takes note of a change that was told or could not be. The caller holds mu.
func (h *hook) count(c Change, retried int, err error) {
	if len(h.queue) > 0 {
		h.queue = h.queue[1:]
	}
	h.stats.Retried += uint64(retried)
	switch {
	case err == nil:
		h.stats.Told++
		if h.stats.Error != "" {
			h.stats.Error = ""
			h.log.Info("the hook works again")
		}
	case h.gone: // and cancelled: nobody knows what came of it
		h.stats.Dropped++
	default:
		h.stats.Failed++
		h.stats.Error = err.Error()
		h.log.Warn("a hook failed", "service", c.Service, "backend", c.Backend, "event", c.Event, "retried", retried, "error", err)
	}
}

// end drops what waits and cancels what runs.
func (h *hook) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = true
	if waiting := len(h.queue) - 1; waiting > 0 {
		h.queue = h.queue[:1]
		h.stats.Dropped += uint64(waiting)
		h.log.Warn("changes of backends were not told: the hook ends", "dropped", waiting)
	}
	h.cancel()
}

// counted is what became of its changes so far, and whether more comes of them.
func (h *hook) counted() (s Stats, busy bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s = h.stats
	s.Waiting = len(h.queue)
	return s, h.busy
}

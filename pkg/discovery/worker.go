package discovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// worker runs one source and keeps its last good answer. The manager's lock
// guards the fields below it.
type worker struct {
	m          *Manager
	key        workerKey
	definition model.Source
	source     Source
	ctx        context.Context
	cancel     context.CancelFunc

	answer   []model.Backend // in use; sorted
	at       time.Time       // of the last answer that was good
	own      bool            // it is this source's, not one of before
	spoken   bool            // it has answered or failed
	state    State
	since    time.Time // of state
	err      string
	broke    time.Time // when it began to fail; good while err is not empty
	warnings []string
	// pending waits for more changes until the timer debounce ends.
	pending  []model.Backend
	debounce *time.Timer
	// expiry ends the use of the answer while the source fails.
	expiry *time.Timer
}

// start runs a source. It takes over what the one before it, if any, found, and
// begins when that one has ended. The caller holds the lock.
func (m *Manager) start(service string, definition model.Source, before *worker) *worker {
	ctx, cancel := context.WithCancel(context.Background())
	w := &worker{
		m: m, key: workerKey{service, definition.Name}, definition: definition, source: m.opts.New(definition),
		ctx: ctx, cancel: cancel, state: Waiting, since: time.Now(),
	}
	if before != nil {
		before.stop()
		w.answer, w.at, w.warnings = before.answer, before.at, before.warnings
	} else if m.cache != nil {
		w.answer, w.at = m.cache.get(w.key)
	}
	previous, done := m.ending[w.key], make(chan struct{})
	m.ending[w.key] = done
	m.running.Go(func() {
		if previous != nil {
			<-previous
		}
		w.run()
		m.mu.Lock()
		defer m.mu.Unlock()
		close(done)
		if m.ending[w.key] == done {
			delete(m.ending, w.key)
		}
	})
	return w
}

// stop ends the source; it does not wait. The caller holds the lock.
func (w *worker) stop() {
	w.cancel()
	w.stopTimers()
}

func (w *worker) stopTimers() {
	for _, t := range []**time.Timer{&w.debounce, &w.expiry} {
		if *t != nil {
			(*t).Stop()
			*t = nil
		}
	}
	w.pending = nil
}

// run keeps the source running until it is stopped.
func (w *worker) run() {
	pause := w.m.opts.MinBackoff
	for w.ctx.Err() == nil {
		begin, answered := time.Now(), false
		err := w.source.Run(w.ctx, func(backends []model.Backend, warnings ...string) {
			answered = true
			w.emit(backends, warnings)
		})
		if w.ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("ended without an error")
		}
		if answered && time.Since(begin) >= pause {
			pause = w.m.opts.MinBackoff
		}
		wait := jitter(pause)
		w.failed(err, wait)
		w.pause(wait)
		pause = min(2*pause, w.m.opts.MaxBackoff)
	}
}

func (w *worker) pause(d time.Duration) {
	if p, ok := w.source.(pauser); ok {
		p.pause(w.ctx, d)
		return
	}
	select {
	case <-time.After(d):
	case <-w.ctx.Done():
	}
}

// emit takes an answer of the source.
func (w *worker) emit(backends []model.Backend, warnings []string) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if w.ctx.Err() != nil {
		return
	}
	answer, more := clean(w.definition, backends)
	if warnings = few(slices.Concat(warnings, more)); !slices.Equal(w.warnings, warnings) {
		w.warnings = warnings
		for _, text := range w.warnings {
			w.m.opts.Log.Warn("discovery: "+text, "service", w.key.service, "source", w.key.source)
		}
	}
	if err := w.distrust(answer); err != nil {
		w.fail(err)
		return
	}
	first := !w.own || w.state == Stale
	w.at, w.own = time.Now(), true
	w.heal()
	if w.m.cache != nil {
		w.m.cache.renew(w.key, w.at)
	}
	switch {
	case slices.Equal(answer, w.answer) && !first:
		if w.debounce != nil { // it changed back
			w.debounce.Stop()
			w.debounce, w.pending = nil, nil
		}
	case first || w.definition.Debounce == 0:
		w.use(answer)
	default:
		w.pending = answer
		if w.debounce == nil {
			w.debounce = time.AfterFunc(w.definition.Debounce, w.settle)
		}
	}
}

// distrust says why an answer is not believed; nil if it is.
func (w *worker) distrust(answer []model.Backend) error {
	if w.definition.OnEmpty == model.EmptyAccept || len(w.answer) == 0 {
		return nil
	}
	if len(answer) == 0 {
		return fmt.Errorf("answered that there are no backends, which is not believed (on_empty: keep); the last %d stay", len(w.answer))
	}
	s := w.m.services[w.key.service].service
	for _, b := range answer {
		if unusable(s, w.m.frontends, b) == "" {
			return nil
		}
	}
	return fmt.Errorf("none of the %d backends it answered can be used (%s: %s); the last %d stay (on_empty: keep)",
		len(answer), answer[0].Address, unusable(s, w.m.frontends, answer[0]), len(w.answer))
}

// settle ends the wait for more changes.
func (w *worker) settle() {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if w.ctx.Err() != nil || w.debounce == nil {
		return
	}
	w.debounce = nil
	w.use(w.pending)
	w.pending = nil
}

// use makes an answer the one in use.
func (w *worker) use(answer []model.Backend) {
	w.stopDebounce()
	w.answer = answer
	if w.m.cache != nil {
		w.m.cache.put(w.key, answer, w.at)
	}
	w.m.markDirty(w.key.service)
}

func (w *worker) stopDebounce() {
	if w.debounce != nil {
		w.debounce.Stop()
		w.debounce, w.pending = nil, nil
	}
}

// heal ends a failure, if there is one.
func (w *worker) heal() {
	if w.expiry != nil {
		w.expiry.Stop()
		w.expiry = nil
	}
	if w.err != "" {
		w.m.opts.Log.Info("discovery source answers again", "service", w.key.service, "source", w.key.source,
			"failed_for", time.Since(w.broke).Round(time.Millisecond))
	}
	w.err = ""
	w.enter(OK)
}

// failed takes note that Run returned.
func (w *worker) failed(err error, retry time.Duration) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if w.ctx.Err() != nil {
		return
	}
	w.m.opts.Log.Debug("discovery source will be run again", "service", w.key.service, "source", w.key.source,
		"error", err, "retry_in", retry.Round(time.Millisecond))
	w.fail(err)
}

// fail keeps the last answer for as long as stale_for says.
func (w *worker) fail(err error) {
	if w.err == "" {
		w.broke = time.Now()
	}
	// In one line: a status is a table.
	if text := strings.ReplaceAll(err.Error(), "\n", "; "); text != w.err {
		w.err = text
		what := "discovery source fails"
		if len(w.answer) > 0 {
			what += ", its last backends stay in use"
		}
		w.m.opts.Log.Warn(what, "service", w.key.service, "source", w.key.source,
			"type", w.definition.Type, "at", w.source.String(), "error", text, "backends", len(w.answer))
	}
	if w.state != Stale {
		w.enter(Failing)
	}
	if w.definition.StaleFor > 0 && w.expiry == nil && w.state == Failing {
		w.expiry = time.AfterFunc(w.definition.StaleFor, w.expire)
	}
}

// expire ends the use of the last answer.
func (w *worker) expire() {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if w.ctx.Err() != nil || w.expiry == nil {
		return
	}
	w.expiry = nil
	w.m.opts.Log.Warn("discovery source has failed for longer than stale_for: its backends are given up", "service", w.key.service,
		"source", w.key.source, "stale_for", w.definition.StaleFor, "backends", len(w.answer))
	w.enter(Stale)
	w.use(nil)
}

// enter notes a state, and that the source has spoken.
func (w *worker) enter(s State) {
	if w.state != s || !w.spoken {
		w.m.markDirty(w.key.service)
	}
	if w.state != s {
		w.state, w.since = s, time.Now()
	}
	w.spoken = true
}

// jitter returns d ±10 %, so that sources which lost the same server do not
// come back to it all at once.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

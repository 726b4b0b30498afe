package demo

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// inFlight bounds the requests under way at once.
const inFlight = 64

// answer is what became of a request.
type answer struct {
	kind         int
	began, ended time.Time
	backend      string
	err          error
}

// load is a stream of requests, of all its kinds in turn.
type load struct {
	kinds []kind
	stop  context.CancelFunc
	// over is closed when the last request has ended.
	over chan struct{}

	mu      sync.Mutex
	answers []answer
}

// startLoad sends at most perSecond requests a second until it has sent so
// many, or, if requests is 0, until end is called. When ctx ends, so do the
// requests under way, and do not count.
func startLoad(ctx context.Context, kinds []kind, perSecond, requests int) *load {
	sending, stop := context.WithCancel(ctx)
	l := &load{kinds: kinds, stop: stop, over: make(chan struct{})}
	go func() {
		defer close(l.over)
		var group errgroup.Group
		group.SetLimit(inFlight)
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for i := 0; (requests == 0 || i < requests) && next(sending, tick.C); i++ {
			group.Go(func() error {
				l.ask(ctx, i%len(kinds))
				return nil
			})
		}
		_ = group.Wait()
	}()
	return l
}

// next waits for a tick; false if ctx ends first.
func next(ctx context.Context, tick <-chan time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-tick:
		return true
	}
}

func (l *load) ask(ctx context.Context, kind int) {
	a := answer{kind: kind, began: time.Now()}
	a.backend, a.err = l.kinds[kind].ask(ctx)
	a.ended = time.Now()
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers = append(l.answers, a)
}

// end sends no more, waits for the requests under way and returns all.
func (l *load) end() []answer {
	l.stop()
	<-l.over
	return l.sofar()
}

// sofar are the requests that have ended.
func (l *load) sofar() []answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers[:len(l.answers):len(l.answers)]
}

// ended says whether the last request has ended.
func (l *load) ended() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

// since says whether a request that began after a moment was answered by the
// backend.
func (l *load) since(moment time.Time, backend string) bool {
	for _, a := range l.sofar() {
		if a.err == nil && a.backend == backend && a.began.After(moment) {
			return true
		}
	}
	return false
}

// failures counts the answers that are errors and returns the first.
func failures(answers []answer) (n int, first error) {
	for _, a := range answers {
		if a.err == nil {
			continue
		}
		if n == 0 {
			first = a.err
		}
		n++
	}
	return n, first
}

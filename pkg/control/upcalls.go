package control

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

// upcallReader delivers packets whose flows await a decision; [*maps.UpcallReader]
// is one.
type upcallReader interface {
	Read(*maps.Upcall) error
	Flush() error
	Close() error
}

// injector sends such packets on; [*loader.Injector] is one.
type injector interface {
	Inject(*maps.Upcall) error
	Reject(*maps.Upcall) error
	Close() error
}

// decider is the plane that decisions go to.
type decider interface {
	Decide(*maps.Upcall, maps.Decision) error
	Heartbeat() error
	Away() error
}

const (
	// queueLength is how many packets of one service wait for its policies. At the
	// default rate it is filled in 50 ms.
	queueLength = 1024
	// heartbeat is well below the second after which the data plane takes the daemon
	// for away.
	heartbeat = 100 * time.Millisecond
	// staleAfter is when a packet is not worth an answer: its sender has sent another.
	staleAfter = time.Second
)

// upcalls answers the data plane's questions about new flows: one goroutine reads
// them, and each service has one that asks its policies, so that a slow policy
// delays its own service alone.
type upcalls struct {
	plane  decider
	read   upcallReader
	inject injector
	log    *slog.Logger
	now    func() time.Duration // the clock of [maps.Upcall.At]
	sites  atomic.Pointer[map[uint32]*site]
	counts *upcallCounts
	pool   sync.Pool

	queues map[uint32]chan *maps.Upcall // the reader's own
	stop   chan struct{}                // closed to end the heartbeat
	gone   chan struct{}                // closed when the data plane knows
	group  sync.WaitGroup
	warned atomic.Int64 // when a failure was last logged, in ns
}

// upcallCounts count packets.
type upcallCounts struct {
	asked, overloaded, stale, failed atomic.Uint64
}

// startUpcalls begins to answer. The caller calls close.
func startUpcalls(plane decider, read upcallReader, inject injector, now func() time.Duration, counts *upcallCounts, log *slog.Logger) *upcalls {
	u := &upcalls{plane: plane, read: read, inject: inject, now: now, counts: counts, log: log, queues: map[uint32]chan *maps.Upcall{}}
	u.pool.New = func() any { return new(maps.Upcall) }
	u.sites.Store(&map[uint32]*site{})
	u.stop, u.gone = make(chan struct{}), make(chan struct{})
	u.group.Go(u.beat)
	u.group.Go(u.pump)
	return u
}

// close ends it. First the data plane is told, so that from now on new flows follow
// on_overload; then what it asked before is answered.
func (u *upcalls) close() error {
	close(u.stop)
	<-u.gone
	if err := u.read.Flush(); err != nil {
		u.complain("cannot read the last of what the data plane asked", err)
		u.read.Close() // which ends the reading too
	}
	u.group.Wait()
	return errors.Join(u.read.Close(), u.inject.Close())
}

// beat tells the data plane that somebody is here, and at the end that nobody is: it
// alone, so that that is the last word.
func (u *upcalls) beat() {
	defer close(u.gone)
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		if err := u.plane.Heartbeat(); err != nil {
			u.complain("cannot tell the data plane that the daemon is here", err)
		}
		select {
		case <-u.stop:
			if err := u.plane.Away(); err != nil {
				u.complain("cannot tell the data plane that the daemon goes", err)
			}
			return
		case <-tick.C:
		}
	}
}

// pump hands packets to the queues of their services. It never waits for one. It
// ends when it is told to and nothing is left.
func (u *upcalls) pump() {
	defer func() {
		for _, q := range u.queues {
			close(q)
		}
	}()
	for {
		one := u.pool.Get().(*maps.Upcall)
		if err := u.read.Read(one); err != nil {
			if errors.Is(err, maps.ErrFlushed) || errors.Is(err, os.ErrClosed) {
				return
			}
			u.complain("cannot read what the data plane asks", err)
			continue
		}
		if u.now()-one.At > staleAfter {
			u.counts.stale.Add(1)
			u.pool.Put(one)
			continue
		}
		select {
		case u.queue(one.Service) <- one:
		default:
			u.counts.overloaded.Add(1)
			u.overload(one)
			u.pool.Put(one)
		}
	}
}

// queue returns the queue of a service, which is made, with its goroutine, for its
// first packet.
func (u *upcalls) queue(service uint32) chan *maps.Upcall {
	q := u.queues[service]
	if q == nil {
		q = make(chan *maps.Upcall, queueLength)
		u.queues[service] = q
		u.group.Go(func() { u.work(q) })
	}
	return q
}

func (u *upcalls) work(q <-chan *maps.Upcall) {
	worker := policy.NewChainWorker()
	defer func() {
		if err := worker.Close(context.Background()); err != nil {
			u.complain("cannot free a policy's instance", err)
		}
	}()
	for one := range q {
		u.answer(worker, one)
		u.pool.Put(one)
	}
}

// answer asks the policies about a packet's flow and sends it on.
func (u *upcalls) answer(worker *policy.ChainWorker, one *maps.Upcall) {
	s := (*u.sites.Load())[one.Service]
	if s == nil { // it has no policies any more
		u.settle(one, maps.Decision{})
		return
	}
	u.counts.asked.Add(1)
	said := worker.Decide(s.chain, &policy.FlowInput{
		Source: one.Source, Destination: one.Destination, Protocol: one.Protocol, TCPFlags: one.TCPFlags,
		Hash: one.Hash, Backends: len(s.backends), Empty: s.empty,
	})
	u.settle(one, s.decision(said, one.Hash))
	if said.Action == policy.ActionReject {
		if err := u.inject.Reject(one); err != nil {
			u.complain("cannot tell a client that it was rejected", err)
		}
	}
}

// settle makes a decision known and lets the packet meet it.
func (u *upcalls) settle(one *maps.Upcall, d maps.Decision) {
	if err := u.plane.Decide(one, d); err != nil {
		u.complain("cannot write a decision", err)
		return // the packet would come back; its sender sends another
	}
	if d.Drop {
		return
	}
	if err := u.inject.Inject(one); err != nil {
		u.complain("cannot send a packet on", err)
	}
}

// overload does what the service says of flows that nobody has time for.
func (u *upcalls) overload(one *maps.Upcall) {
	if s := (*u.sites.Load())[one.Service]; s == nil || s.overload == model.OverloadContinue {
		u.settle(one, maps.Decision{})
	}
}

// complain logs a failure, one a second at most: there may be one for each packet.
func (u *upcalls) complain(what string, err error) {
	u.counts.failed.Add(1)
	now, last := time.Now().UnixNano(), u.warned.Load()
	if now-last > int64(time.Second) && u.warned.CompareAndSwap(last, now) {
		u.log.Error(what, "error", err, "failures", u.counts.failed.Load())
	}
}

// shown are the counts as the API shows them.
func (c *upcallCounts) shown() api.Upcalls {
	return api.Upcalls{Asked: c.asked.Load(), Overloaded: c.overloaded.Load(), Stale: c.stale.Load(), Failed: c.failed.Load()}
}

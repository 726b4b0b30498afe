package control

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/discovery"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/notify"
	"github.com/xlb-io/xlb/pkg/policy"
	"github.com/xlb-io/xlb/pkg/probe"
)

// dataPlane is what the reconciler needs of the maps; [*maps.Set] is one.
type dataPlane interface {
	Sizes() maps.Sizes
	Read() (maps.Contents, error)
	Apply(maps.Changes) error
	FlowCounts() map[uint32]int
	CorrectLoads() (wrong int, err error)
	BackendLoad(id uint32) maps.Load
	SetLatency(id uint32, latency time.Duration)
	Strays(map[uint32]maps.Table) (map[uint32]maps.Slots, error)
	Flows() iter.Seq[maps.Flow]
	Reasons() ([]maps.NamedCount, error)
	Events() ([]maps.NamedCount, error)
	ServiceTraffic(id uint32) (maps.Traffic, error)
	ServiceLoad(id uint32) maps.Load
	Refused(id uint32) (maps.Refused, error)
	BackendTraffic(id uint32) (maps.Traffic, error)
	ServiceOutcomes(id uint32) (maps.Outcomes, error)
	BackendOutcomes(id uint32) (maps.Outcomes, error)
	decider
}

// host is what it needs of the machine; [*loader.Loader] is one.
type host interface {
	ProtectVIPs([]model.Frontend) error
	SourceFor(to netip.Addr) (netip.Addr, error)
	RouteProbes(vips []netip.Addr) error
	LocalAddresses() map[netip.Addr]string
	AddressesChanged() <-chan struct{}
}

// timing is how often and how soon. Tests shorten it.
type timing struct {
	// sweep is the time between two countings of flows.
	sweep time.Duration
	// outcomes is the time between two looks at what became of connections.
	outcomes time.Duration
	// grace is how long after a backend left the table a sweep may begin that
	// decides on it: packets that had read the old table are done by then.
	grace time.Duration
	// drift is the least time between two comparisons of the maps with what
	// was written to them.
	drift time.Duration
	// discovery is how long the first round waits for all sources.
	discovery time.Duration
	// minRetry and maxRetry bound the pause after a failed write.
	minRetry, maxRetry time.Duration
	// debounce is how long the configuration file must be left alone before
	// it is read.
	debounce time.Duration
}

var usual = timing{
	sweep: 5 * time.Second, outcomes: time.Second, grace: time.Second, drift: time.Minute, discovery: 2 * time.Second,
	minRetry: 100 * time.Millisecond, maxRetry: 10 * time.Second, debounce: 150 * time.Millisecond,
}

// parts is what a controller works with.
type parts struct {
	data     dataPlane
	host     host
	operator *operatorStore
	// roles outlive the daemon; nil means that they do not.
	roles      *roleStore
	log        *slog.Logger
	version    string
	configPath string
	// text is that of the configuration in force. A reload changes it.
	text []byte
	// loaded is fingerprintOf the file that the first configuration is from.
	loaded     string
	interfaces []api.Interface
	adopted    bool
	timing     timing
	// runtime runs the policies, of which first are those of the configuration.
	runtime *policy.Runtime
	first   *policyChange
	// newReader and newInjector begin the answering of new flows.
	newReader   func() (upcallReader, error)
	newInjector func() (injector, error)
	// now is the time for what is decided by sweeps; nil means time.Now.
	now func() time.Time
	// source makes a source of backends; nil means the usual one.
	source func(model.Source) discovery.Source
	// discoveryCache keeps what sources found over a restart; see
	// [discovery.Options].
	discoveryCache string
	// standingsFile keeps standings over a restart; empty: nothing does.
	standingsFile string
}

// errStopped is the answer to requests that come while the daemon ends.
var errStopped = errors.New("the daemon is shutting down")

// controller is the reconciler. The goroutine in run owns all fields below
// "state"; the others reach it by post and submit, and read what it published.
type controller struct {
	parts
	since        time.Time
	discovery    *discovery.Manager
	prober       *probe.Runner
	published    atomic.Pointer[snapshot]
	inForce      atomic.Pointer[policySet]
	reloading    sync.Mutex // one reload at a time
	upcallCounts upcallCounts
	pasts        pasts
	hooks        *notify.Notifier

	inboxMu sync.Mutex
	inbox   []func()
	wake    chan struct{} // holds one: inbox is not empty
	stopped chan struct{} // closed when run is over
	// networksUsed holds one: the files that rules name may be others.
	networksUsed chan struct{}
	helpers      sync.WaitGroup

	// State.
	cfg         *model.Config
	unreadable  map[string]unreadable // of cfg.Networks
	lastReload  api.Reload
	planner     *Planner
	plan        *Plan // nil until one was written
	current     maps.Contents
	stale       bool   // current must be read again before the next round
	writes      uint64 // rounds that wrote
	seeded      bool
	discovered  map[string][]model.Backend
	auto        autoSources
	health      map[probe.Key]model.BackendHealth
	targets     map[probe.Key]bool
	pending     map[probe.Key]time.Time // not probed yet → until when to wait for it
	retarget    bool
	ways        map[probe.Key]probe.Via       // of probes via a VIP
	probedVIPs  map[netip.Addr]bool           // and whether each is the host's own; nil until their routes are set
	towards     map[netip.Addr]netip.Addr     // see returnAddresses
	chains      map[string]*policy.Chain      // service → its policies that decide
	deciding    map[string]bool               // services that have some
	upcalls     *upcalls                      // nil while nobody asks
	toWeigh     map[string]bool               // services whose policies are to be asked about weights
	weighing    map[string]bool               // those that are being asked
	said        map[string]map[string]answers // service → policy → its last word
	answers     map[string]answers            // service → all of them together
	names       map[uint32]string
	counts      map[uint32]int
	breakers    map[string]breakers // service → what is known of the connections to its backends
	ejections   map[string]uint64   // service → how often a backend was ejected
	judging     bool
	sweeping    bool
	drifting    bool
	restored    map[string]standing     // of the daemon before
	kept        map[string]keptStanding // in the file of standings
	keepError   string                  // why the last ones are not
	keeping     bool
	retired     map[uint32]time.Time     // backend in no table → since when
	undrawn     map[netip.Addr]time.Time // source not drawn from → since when
	idle        map[uint32]bool
	transitions map[uint32]transition // times of the marked slots of current
	surveyed    *survey               // since the last plan was written; nil if there was none
	idleSource  map[netip.Addr]bool
	protected   map[model.Frontend]bool // nil until the host's rules are set
	problems    map[string]error        // reason → what happened
	dirty       bool                    // everything must be planned anew
	touched     map[string]bool         // services of which only backends must be
	notBefore   time.Time
	retry       time.Duration
	waiters     []chan error
}

// newController returns a controller of a valid configuration, whose first
// act will be to read the maps. Its run must be called.
func newController(p parts, cfg *model.Config) *controller {
	if p.now == nil {
		p.now = time.Now
	}
	if p.roles == nil {
		p.roles = &roleStore{of: map[probe.Key]lastRole{}}
	}
	c := &controller{
		parts: p, since: p.now(), cfg: cfg,
		wake: make(chan struct{}, 1), stopped: make(chan struct{}), networksUsed: make(chan struct{}, 1),
		unreadable: map[string]unreadable{},
		lastReload: api.Reload{At: time.Now(), OK: true},
		planner:    NewPlanner(), stale: true,
		discovered: map[string][]model.Backend{},
		health:     map[probe.Key]model.BackendHealth{}, targets: map[probe.Key]bool{}, pending: map[probe.Key]time.Time{}, retarget: true,
		names: map[uint32]string{}, retired: map[uint32]time.Time{}, undrawn: map[netip.Addr]time.Time{},
		idle: map[uint32]bool{}, idleSource: map[netip.Addr]bool{}, problems: map[string]error{},
		towards:  map[netip.Addr]netip.Addr{},
		breakers: map[string]breakers{}, ejections: map[string]uint64{},
		weighing: map[string]bool{}, said: map[string]map[string]answers{}, answers: map[string]answers{},
	}
	if p.standingsFile != "" {
		file := readStandings(p.standingsFile, p.log)
		c.kept, c.restored = file.Services, file.standings(c.since)
	}
	c.inForce.Store(&policySet{})
	if p.first != nil {
		c.adoptPolicies(p.first)
	}
	c.discovery = discovery.NewManager(discovery.Options{New: p.source, Cache: p.discoveryCache, Log: p.log})
	for _, text := range LeftOut(cfg) {
		c.log.Warn(text)
	}
	c.hooks = notify.New(notify.Options{Log: p.log})
	c.hooks.Apply(cfg.Services)
	c.roles.apply(cfg.Services)
	c.prober = probe.NewRunner(probe.Options{Probing: cfg.Settings.Probing, Log: p.log, Policy: c.askProbe, OnChange: func(r probe.Result) {
		c.post(func() { c.probed(r) })
	}})
	c.publish()
	return c
}

// run reconciles until ctx ends, and leaves the maps as they are then.
func (c *controller) run(ctx context.Context) {
	defer func() {
		c.prober.Close()
		c.hooks.Close()
		c.discovery.Close()
		c.roles.save()
		c.endDecisions()
		close(c.stopped)
		c.helpers.Wait()
		c.keepLast()
	}()
	c.dirty = true
	c.notBefore = time.Now().Add(c.timing.discovery)
	c.discovery.Apply(c.cfg.Services)
	c.takeDiscovered()

	sweep := time.NewTicker(c.timing.sweep)
	defer sweep.Stop()
	outcomes := time.NewTicker(c.timing.outcomes)
	defer outcomes.Stop()
	drift := time.NewTimer(c.timing.drift)
	defer drift.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	timed := time.NewTimer(0) // for elections that time changes
	defer timed.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-c.discovery.Changed():
			c.takeDiscovered()
		case <-c.host.AddressesChanged():
			c.dirty = true
			clear(c.towards)
		case <-sweep.C:
			c.startSweep()
			c.keepStandings()
			c.weighAll()
			c.retryProblems()
		case <-outcomes.C:
			c.watchOutcomes()
		case <-drift.C:
			c.startDriftCheck(drift)
		case <-due.C:
		case <-timed.C:
			c.touchDue()
		}
		c.takeAll()
		c.startWeighing()
		if !c.due() {
			continue
		}
		if wait := time.Until(c.notBefore); wait > 0 {
			due.Reset(wait)
			continue
		}
		begin := time.Now()
		c.reconcile()
		if next := c.touchDue(); next > 0 {
			timed.Reset(next - c.clock())
		}
		// Rounds take half of the time at most, so that a burst of changes
		// becomes few of them.
		if pause := time.Now().Add(min(time.Since(begin), time.Second)); pause.After(c.notBefore) {
			c.notBefore = pause
		}
		if c.due() {
			due.Reset(time.Until(c.notBefore))
		}
	}
}

// takeAll takes every event that waits.
func (c *controller) takeAll() {
	for {
		c.inboxMu.Lock()
		calls := c.inbox
		c.inbox = nil
		c.inboxMu.Unlock()
		for _, f := range calls {
			f()
		}
		select {
		case <-c.discovery.Changed():
			c.takeDiscovered()
		default:
			if len(calls) == 0 {
				return
			}
		}
	}
}

// post makes the reconciler call f soon. It never waits.
func (c *controller) post(f func()) {
	c.inboxMu.Lock()
	c.inbox = append(c.inbox, f)
	c.inboxMu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// submit makes the reconciler call change and waits until the maps hold what
// follows from it. An error of change ends it at once.
func (c *controller) submit(ctx context.Context, change func() error) error {
	done := make(chan error, 1)
	c.post(func() {
		if err := change(); err != nil {
			done <- err
			return
		}
		c.waiters = append(c.waiters, done)
	})
	return c.await(ctx, done)
}

// ask makes the reconciler call f and waits for that alone.
func (c *controller) ask(ctx context.Context, f func()) error {
	done := make(chan error, 1)
	c.post(func() { f(); done <- nil })
	return c.await(ctx, done)
}

func (c *controller) await(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-c.stopped:
		return api.Errorf(503, "%v", errStopped)
	}
}

package policy

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// Options are those of a [Runtime].
type Options struct {
	// CacheDir holds compiled modules, for the next start. It is made if it is not
	// there. It must belong to this user and be writable by nobody else, for what is in
	// it is run. Empty: no cache.
	CacheDir string
	// Log gets what policies log. nil: nowhere.
	Log *slog.Logger
	// Clock is the wall clock that policies are told. nil: time.Now.
	Clock func() time.Time
	// Unmetered runs modules without fuel, to measure what it costs: a call of flow may
	// never end.
	Unmetered bool
}

// tellTime is how often policies are configured anew, so that their wall clock,
// which is a difference to the monotonic one, follows this host's.
const tellTime = time.Hour

// Runtime compiles and runs policies. It is safe for concurrent use.
type Runtime struct {
	// Calls of fast end by fuel alone, which costs next to nothing. Those of guarded
	// can be ended at a time, which makes each some twenty times as long.
	fast, guarded wazero.Runtime
	caches        []wazero.CompilationCache
	log           *slog.Logger
	clock         func() time.Time
	unmetered     bool
	base          time.Time

	mu       sync.Mutex
	policies map[*Policy]struct{}
	stop     chan struct{}
	stopped  sync.WaitGroup
}

// NewRuntime returns a runtime without policies.
func NewRuntime(ctx context.Context, o Options) (*Runtime, error) {
	r := &Runtime{
		log: o.Log, clock: o.Clock, unmetered: o.Unmetered, base: time.Now(),
		policies: map[*Policy]struct{}{}, stop: make(chan struct{}),
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.clock == nil {
		r.clock = time.Now
	}
	if err := privateDir(o.CacheDir); err != nil {
		return nil, err
	}
	var err error
	if r.fast, err = r.engine(ctx, o.CacheDir, false); err == nil {
		r.guarded, err = r.engine(ctx, o.CacheDir, true)
	}
	if err != nil {
		r.Close(ctx)
		return nil, fmt.Errorf("cannot start WebAssembly: %w", err)
	}
	r.stopped.Go(r.tellTime)
	return r, nil
}

// privateDir makes the directory of the cache, and refuses one that others can
// write to.
func privateDir(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the cache of compiled policies: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("cannot use the cache of compiled policies: %w", err)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("the cache of compiled policies, %s, may be written by others (its files are run; chown and chmod 0700 it)", dir)
	}
	return nil
}

// engine makes one of the two runtimes, with the functions of the host.
func (r *Runtime) engine(ctx context.Context, dir string, guarded bool) (wazero.Runtime, error) {
	config := wazero.NewRuntimeConfig().
		WithCoreFeatures(api.CoreFeaturesV2).
		WithDebugInfoEnabled(false).
		WithMemoryLimitPages(maxMemory >> 16).
		WithCloseOnContextDone(guarded)
	if dir != "" {
		cache, err := wazero.NewCompilationCacheWithDir(dir)
		if err != nil {
			return nil, err
		}
		r.caches = append(r.caches, cache)
		config = config.WithCompilationCache(cache)
	}
	rt := wazero.NewRuntimeWithConfig(ctx, config)
	err := instantiateHost(ctx, rt)
	if err == nil {
		err = instantiateWASI(ctx, rt)
	}
	if err != nil {
		rt.Close(ctx)
		return nil, err
	}
	return rt, nil
}

// compile compiles a module, with all processors: guarded and, if flow is to be
// called, fast. A module of Go takes a second for each.
func (r *Runtime) compile(ctx context.Context, module []byte, flow bool) (fast, guarded wazero.CompiledModule, err error) {
	ctx = experimental.WithCompilationWorkers(ctx, runtime.GOMAXPROCS(0))
	if guarded, err = r.guarded.CompileModule(ctx, module); err != nil || !flow {
		return nil, guarded, err
	}
	if fast, err = r.fast.CompileModule(ctx, module); err != nil {
		guarded.Close(ctx)
		return nil, nil, err
	}
	return fast, guarded, nil
}

// now is a monotonic clock.
func (r *Runtime) now() time.Duration { return time.Since(r.base) }

func (r *Runtime) tellTime() {
	t := time.NewTicker(tellTime)
	defer t.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-t.C:
			r.refresh()
		}
	}
}

// refresh has all instances configured again before their next call.
func (r *Runtime) refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.policies {
		p.refresh()
	}
}

// Close frees all. Policies, workers and chains must not be used any more.
func (r *Runtime) Close(ctx context.Context) error {
	select {
	case <-r.stop:
		return nil
	default:
		close(r.stop)
	}
	r.stopped.Wait()
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	if r.fast != nil {
		keep(r.fast.Close(ctx))
	}
	if r.guarded != nil {
		keep(r.guarded.Close(ctx))
	}
	for _, c := range r.caches {
		keep(c.Close(ctx))
	}
	return first
}

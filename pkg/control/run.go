package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/config"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/policy"
	"github.com/xlb-io/xlb/pkg/telemetry"
)

// Options of [Run].
type Options struct {
	// ConfigPath is the configuration file.
	ConfigPath string
	// PinDir holds the pinned maps and links; empty means
	// [loader.DefaultPinDir].
	PinDir string
	// StateDir holds what the operator said, what discovery found last and which
	// roles backends had; empty means [DefaultStateDir].
	StateDir string
	// Socket of the API; empty means [api.DefaultSocket].
	Socket string
	// Version is shown in the status.
	Version string
	// Hangup delivers SIGHUP: each receive reloads the configuration. May be
	// nil.
	Hangup <-chan os.Signal
	// Log; nil means [slog.Default].
	Log *slog.Logger
}

// PolicyError is a configuration that names a policy which cannot be used.
type PolicyError struct{ Err error }

func (e *PolicyError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *PolicyError) Unwrap() error { return e.Err }

// DefaultStateDir is where the operator's overrides are kept.
const DefaultStateDir = "/var/lib/xlb"

// Run is the daemon: it loads and attaches the data plane, keeps it as the
// configuration, the probes and the operator want it, and answers at the
// socket. When ctx ends it stops and returns nil; what is pinned stays, and
// the kernel goes on balancing.
//
// It fails at once if the configuration is wrong ([config.Errors]), if another
// daemon owns the pin directory ([loader.ErrLocked]) or the socket, or if the
// data plane cannot be loaded. Later errors it outlives; the status shows them.
func Run(ctx context.Context, o Options) (err error) {
	o.PinDir = cmp.Or(o.PinDir, loader.DefaultPinDir)
	o.StateDir = cmp.Or(o.StateDir, DefaultStateDir)
	o.Socket = cmp.Or(o.Socket, api.DefaultSocket)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	loaded := fingerprintOf(o.ConfigPath) // before the load: at worst one reload too many
	local, err := loader.HostAddresses()
	if err != nil {
		return err
	}
	text, err := config.Read(o.ConfigPath)
	if err != nil {
		return err
	}
	operator, err := openOperator(o.StateDir)
	if err != nil {
		return err
	}
	runtime, err := policy.NewRuntime(ctx, policy.Options{CacheDir: policyCache(o.StateDir), Log: o.Log})
	if err != nil {
		return fmt.Errorf("prepare to run policies: %w", err)
	}
	defer func() { err = errors.Join(err, runtime.Close(context.WithoutCancel(ctx))) }()
	from := configSource{path: o.ConfigPath, text: text, options: []config.Option{config.OnHost(local)}, services: operator.said().Services}
	cfg, policies, err := from.load(ctx, runtime, nil, nil)
	if err != nil {
		return err
	}
	// First, so that a daemon that is refused here has not put its program in
	// front of another's.
	listener, err := api.Listen(o.Socket)
	if err != nil {
		return err
	}
	defer listener.Close()
	plane, err := loader.Open(loader.Options{PinDir: o.PinDir, Settings: cfg.Settings, Log: o.Log})
	if err != nil {
		return fmt.Errorf("start the data plane: %w", err)
	}
	defer func() { err = errors.Join(err, plane.Close()) }()

	c := newController(parts{
		data: plane.Maps(), host: plane, operator: operator, roles: openRoles(o.StateDir, o.Log), log: o.Log, version: o.Version, configPath: o.ConfigPath, text: text,
		runtime: runtime, first: policies, discoveryCache: discoveryCache(o.StateDir), standingsFile: standingsPath(o.StateDir),
		newReader:   func() (upcallReader, error) { return plane.Maps().Upcalls() },
		newInjector: func() (injector, error) { return plane.Injector() },
		loaded:      loaded, interfaces: interfacesOf(plane, o.Log), adopted: plane.Adopted(), timing: usual,
	}, cfg)
	return c.serve(ctx, listener, o.Hangup)
}

// serve runs the controller with all around it until ctx ends or the socket
// fails. When it returns nothing touches the maps any more.
func (c *controller) serve(ctx context.Context, listener *api.Listener, hangup <-chan os.Signal) error {
	ctx, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	group.Go(func() { c.run(ctx) })
	group.Go(func() { c.watchFile(ctx) })
	group.Go(func() { c.watchNetworks(ctx) })
	group.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case _, open := <-hangup:
				if !open {
					return
				}
				_ = c.Reload(ctx) // logged, and kept in the status
			}
		}
	})
	c.log.Info("xlb is running", "version", c.version, "config", c.configPath, "socket", listener.Path(), "adopted", c.adopted)
	if err := api.NewServer(c, c.log, telemetry.Handler(c)).Serve(ctx, listener); err != nil {
		return fmt.Errorf("serve %s: %w", listener.Path(), err)
	}
	c.log.Info("xlb stops; the data plane stays and traffic flows on")
	return nil
}

func interfacesOf(plane *loader.Loader, log *slog.Logger) []api.Interface {
	out := []api.Interface{}
	for _, a := range plane.Attachments() {
		out = append(out, api.Interface{Name: a.Interface, Mode: a.Mode.String(), Why: a.Why, Hook: a.Hook})
		log.Info("attached", "interface", a.Interface, "mode", a.Mode, "why", a.Why, "hook", a.Hook)
	}
	return out
}

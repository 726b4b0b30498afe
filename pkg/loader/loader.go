package loader

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/xlb-io/xlb/internal/bpfpin"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// Options say what to load and where.
type Options struct {
	// PinDir is on a BPF file system; see [DefaultPinDir].
	PinDir   string
	Settings model.Settings
	// Log receives what changed on the host; nil for none.
	Log *slog.Logger
}

// Loader is the owner of a data plane in the kernel.
type Loader struct {
	options     Options
	pins        pins
	lock        *os.File
	maps        *maps.Set
	adopted     bool
	attachments []Attachment
	watch       *hostWatch
	// tcx is putTCX, or what a test puts in the place of an older kernel.
	tcx func(netlink.Link, *ebpf.Program, tcHook) error
	// probing: the program of probes, of this process, is on lo.
	probing bool
}

// Open takes the pin directory, creates the maps or takes over those that an
// earlier run left, loads the programs and attaches them. Links of an earlier
// run are updated in place: between two packets, and none is lost. Until Close it
// follows the host's VLAN devices and addresses.
//
// The error is [ErrLocked] if another process owns the directory. After an
// error the kernel runs what it ran before, but for interfaces that were
// attached already; a next Open goes on from there.
func Open(o Options) (*Loader, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Loader{options: o, pins: pins{o.PinDir}}
	l.tcx = l.putTCX
	if err := l.open(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Loader) open() error {
	if err := bpfpin.Prepare(l.pins.root); err != nil {
		return err
	}
	var err error
	if l.lock, err = lock(l.pins.root); err != nil {
		return err
	}
	for _, dir := range []string{l.pins.version(), l.pins.links(), l.pins.restore()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make pin directory: %w", err)
		}
	}
	staged, err := l.openMaps()
	if err != nil {
		return err
	}
	if l.watch, err = watchHost(l.maps, l.options.Log); err != nil {
		return err
	}
	programs := &programLoader{set: l.maps, settings: l.options.Settings}
	defer programs.programs.Close()
	if l.options.Settings.NextHop == model.NextHopFIB {
		if err := l.enableForwarding(); err != nil {
			return err
		}
	}
	if err := l.takeOverLinks(); err != nil {
		return err
	}
	if err := l.attachAll(programs); err != nil {
		return err
	}
	// An earlier run's, that did not end as it should.
	if err := l.detachInject(); err != nil {
		return err
	}
	if staged {
		if err := l.commitMaps(); err != nil {
			return err
		}
	}
	return l.dropOtherLayouts()
}

// openMaps adopts the pinned maps, or makes new ones in the staging directory
// if there are none or if they do not fit; then it returns true, and the maps
// get their place by commitMaps once the programs use them.
func (l *Loader) openMaps() (staged bool, err error) {
	if err := removePinned(l.pins.staging()); err != nil {
		return false, err
	}
	want := maps.SizesOf(l.options.Settings)
	old, err := maps.Open(l.pins.maps())
	switch {
	case err == nil && old.Sizes() == want:
		l.maps, l.adopted = old, true
		return false, nil
	case err == nil:
		defer old.Close()
		l.options.Log.Warn("the sizes of maps changed: established flows are forgotten", "old", old.Sizes(), "new", want)
	case errors.Is(err, os.ErrNotExist):
	default:
		l.options.Log.Warn("pinned maps cannot be used: starting with empty ones", "error", err)
	}
	if l.maps, err = maps.New(want); err != nil {
		return false, err
	}
	if old != nil {
		if err := l.maps.CopyFrom(old); err != nil {
			l.options.Log.Warn("traffic waits for the first plan: the old maps' contents do not fit the new sizes", "error", err)
		}
	}
	if err := os.MkdirAll(l.pins.staging(), 0o700); err != nil {
		return false, fmt.Errorf("make pin directory: %w", err)
	}
	return true, l.maps.Pin(l.pins.staging())
}

func (l *Loader) commitMaps() error {
	if err := removePinned(l.pins.maps()); err != nil {
		return err
	}
	if err := os.Rename(l.pins.staging(), l.pins.maps()); err != nil {
		return fmt.Errorf("put the new maps into place: %w", err)
	}
	return nil
}

// removePinned removes a directory of pinned objects.
func removePinned(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove pins: %w", err)
	}
	return nil
}

// dropOtherLayouts removes what versions of xlb with other maps pinned, once
// nothing refers to it.
func (l *Loader) dropOtherLayouts() error {
	names, err := entries(l.pins.root)
	if err != nil {
		return err
	}
	for _, n := range names {
		dir := filepath.Join(l.pins.root, n)
		if dir == l.pins.version() {
			continue
		}
		l.options.Log.Info("removing the pins of another version", "directory", dir)
		if err := removePinned(dir); err != nil {
			return err
		}
	}
	return nil
}

// Maps returns the maps that the attached programs use.
func (l *Loader) Maps() *maps.Set { return l.maps }

// Adopted says whether the maps, and with them the flows, are an earlier run's.
func (l *Loader) Adopted() bool { return l.adopted }

// Attachments returns where and how the data plane runs.
func (l *Loader) Attachments() []Attachment { return l.attachments }

// LocalAddresses returns the host's addresses with the interfaces that have them,
// as they are now. The map is not changed.
func (l *Loader) LocalAddresses() map[netip.Addr]string {
	l.watch.mu.Lock()
	defer l.watch.mu.Unlock()
	return l.watch.addresses
}

// AddressesChanged delivers whenever LocalAddresses has something new to say.
func (l *Loader) AddressesChanged() <-chan struct{} { return l.watch.changed }

// SourceFor returns the address that the kernel would use towards an address.
func (l *Loader) SourceFor(to netip.Addr) (netip.Addr, error) {
	routes, err := netlink.RouteGet(to.AsSlice())
	if err != nil {
		return netip.Addr{}, fmt.Errorf("no route to %s: %w", to, err)
	}
	for _, r := range routes {
		if a, ok := netip.AddrFromSlice(r.Src); ok {
			return a.Unmap(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("the route to %s has no source address (set `sources`)", to)
}

// Close gives the pin directory back. What is pinned and attached stays, so
// traffic flows on.
func (l *Loader) Close() error {
	var errs []error
	if l.watch != nil {
		l.watch.close()
	}
	if l.maps != nil {
		errs = append(errs, l.maps.Close())
	}
	if l.lock != nil {
		errs = append(errs, l.lock.Close())
	}
	return errors.Join(errs...)
}

// OpenMaps opens the pinned maps of the data plane under pinDir to look at,
// whether or not a daemon owns them. The error wraps [os.ErrNotExist] if there
// are none.
func OpenMaps(pinDir string) (*maps.Set, error) {
	s, err := maps.Open(pins{pinDir}.maps())
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no maps are pinned under %s (has `xlb run` been started with this pin directory?): %w", pinDir, os.ErrNotExist)
	}
	return s, err
}

// Lock takes the pin directory for a change of its maps without a daemon.
// Call the function it returns to give it back.
func Lock(pinDir string) (unlock func() error, err error) {
	f, err := lock(pinDir)
	if err != nil {
		return nil, err
	}
	return f.Close, nil
}

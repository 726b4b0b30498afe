package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/bpfpin"
	"github.com/xlb-io/xlb/pkg/model"
)

// Attachment is the data plane on one interface.
type Attachment struct {
	Interface string
	// Mode is native, generic or tc; never auto.
	Mode model.AttachMode
	// Why is the reason for the mode, in words.
	Why string
	// Hook is what holds the program: "xdp link", "tcx link" or "clsact filter".
	Hook string
}

const (
	kindXDP = "xdp"
	kindTCX = "tcx"
	// kindProbe is a TC link too, at the egress of lo; see probes.go.
	kindProbe = "probe"
	// kindInject is another one; see inject.go.
	kindInject = "inject"
)

// attachAll brings every interface to the mode asked for, then leaves the
// interfaces that are no longer wanted.
func (l *Loader) attachAll(p *programLoader) error {
	for _, name := range l.options.Settings.Interfaces {
		iface, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("interface %q: %w (see `ip link`)", name, err)
		}
		a, err := l.attach(iface, p)
		if err != nil {
			return fmt.Errorf("attach to interface %q: %w", name, err)
		}
		l.attachments = append(l.attachments, a)
	}
	return l.leaveOthers()
}

// takeOverLinks moves the links that a version of xlb with another layout of the
// maps pinned to our directory, so that they are updated and not replaced.
func (l *Loader) takeOverLinks() error {
	versions, err := entries(l.pins.root)
	if err != nil {
		return err
	}
	for _, v := range versions {
		dir := filepath.Join(l.pins.root, v, "links")
		if dir == l.pins.links() {
			continue
		}
		names, err := entries(dir)
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := movePin(filepath.Join(dir, n), filepath.Join(l.pins.links(), n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// movePin leaves a link that has a pin at the new place alone: its interface
// has been taken over before.
func movePin(from, to string) error {
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	pinned, err := link.LoadPinnedLink(from, nil)
	if err != nil {
		return fmt.Errorf("open pinned link %s: %w", from, err)
	}
	defer pinned.Close()
	if err := pinned.Pin(to); err != nil {
		return fmt.Errorf("move pin %s: %w", from, err)
	}
	return nil
}

func (l *Loader) leaveOthers() error {
	names, err := entries(l.pins.links())
	if err != nil {
		return err
	}
	for _, n := range names {
		iface, kind, ok := parsePinName(n)
		if ok && (kind == kindProbe || kind == kindInject || slices.Contains(l.options.Settings.Interfaces, iface)) {
			continue
		}
		l.options.Log.Info("leaving interface", "interface", iface)
		if err := bpfpin.Detach(filepath.Join(l.pins.links(), n)); err != nil {
			return err
		}
	}
	return nil
}

// attach puts the data plane on an interface: in the mode asked for or, with
// auto, in the first that works.
func (l *Loader) attach(iface netlink.Link, p *programLoader) (Attachment, error) {
	want := l.options.Settings.Attach
	if want != model.AttachAuto {
		hook, err := l.attachAs(iface, p, want)
		return Attachment{iface.Attrs().Name, want, fmt.Sprintf("the configuration asks for %s", want), hook}, err
	}
	modes, reason := autoModes(kindOf(iface))
	var failed []error
	for _, mode := range modes {
		hook, err := l.attachAs(iface, p, mode)
		if err == nil {
			if len(failed) > 0 {
				reason = strings.ReplaceAll(errors.Join(failed...).Error(), "\n", "; ")
			}
			return Attachment{iface.Attrs().Name, mode, reason, hook}, nil
		}
		failed = append(failed, fmt.Errorf("%s: %w", modeText[mode], err))
	}
	return Attachment{}, errors.Join(failed...)
}

var modeText = map[model.AttachMode]string{
	model.AttachNative: "native XDP", model.AttachGeneric: "generic XDP", model.AttachTC: "tc",
}

// attachAs returns what holds the program.
func (l *Loader) attachAs(iface netlink.Link, p *programLoader, mode model.AttachMode) (hook string, err error) {
	if mode == model.AttachTC {
		hook, err := l.attachTC(iface, p, partTC, tcIngress)
		if err != nil {
			return "", err
		}
		return hook, l.detachKind(iface, kindXDP)
	}
	part := partXDP
	if mode == model.AttachGeneric {
		part = partGeneric
	}
	prog, err := p.get(part)
	if err != nil {
		return "", err
	}
	if err := l.putXDP(iface, prog, mode); err != nil {
		return "", err
	}
	// What XDP cannot finish it passes on, so TC must be there too.
	if _, err := l.attachTC(iface, p, partCompanion, tcIngress); err != nil {
		return "", fmt.Errorf("TC program beside XDP: %w", err)
	}
	return "xdp link", nil
}

var xdpFlags = map[model.AttachMode]link.XDPAttachFlags{
	model.AttachNative:  link.XDPDriverMode,
	model.AttachGeneric: link.XDPGenericMode,
}

// putXDP makes the interface run prog in the given mode. A link of ours in that
// mode is updated in place; in another mode it is replaced, with a gap of
// microseconds; a program that is not ours stays, and is an error.
func (l *Loader) putXDP(iface netlink.Link, prog *ebpf.Program, mode model.AttachMode) error {
	path := l.linkPath(iface, kindXDP)
	if currentXDPMode(iface) == mode {
		done, err := updatePinned(path, iface, prog)
		if done || err != nil {
			return err
		}
	}
	options := link.XDPOptions{Program: prog, Interface: iface.Attrs().Index, Flags: xdpFlags[mode]}
	made, err := link.AttachXDP(options)
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) {
		if _, pinned := os.Stat(path); pinned != nil {
			return foreignXDP(iface)
		}
		// Ours, in the other mode or of another interface of this name.
		if err := bpfpin.Detach(path); err != nil {
			return err
		}
		made, err = link.AttachXDP(options)
		if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) {
			return foreignXDP(iface)
		}
	}
	if err != nil {
		return err
	}
	defer made.Close()
	return bpfpin.Pin(made, path)
}

func currentXDPMode(iface netlink.Link) model.AttachMode {
	const driver, generic = 1, 2 // enum of IFLA_XDP_ATTACHED in linux/if_link.h
	fresh, err := netlink.LinkByIndex(iface.Attrs().Index)
	if err != nil || fresh.Attrs().Xdp == nil || !fresh.Attrs().Xdp.Attached {
		return 0
	}
	switch fresh.Attrs().Xdp.AttachMode {
	case driver:
		return model.AttachNative
	case generic:
		return model.AttachGeneric
	}
	return 0
}

func foreignXDP(iface netlink.Link) error {
	what := "another XDP program"
	if fresh, err := netlink.LinkByIndex(iface.Attrs().Index); err == nil && fresh.Attrs().Xdp != nil {
		id := fresh.Attrs().Xdp.ProgId
		what = fmt.Sprintf("another XDP program (id %d%s)", id, programName(ebpf.ProgramID(id)))
	}
	return fmt.Errorf("%s runs there (remove it with `ip link set dev %s xdp off` or its owner's tool, or set `attach: tc`)", what, iface.Attrs().Name)
}

func programName(id ebpf.ProgramID) string {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return ""
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil || info.Name == "" {
		return ""
	}
	return ", " + info.Name
}

func (l *Loader) linkPath(iface netlink.Link, kind string) string {
	return filepath.Join(l.pins.links(), pinName(iface.Attrs().Name, kind))
}

// updatePinned replaces the program of a pinned link, between two packets. It
// returns false if there is no such link, or if its interface is gone and a new
// one has the name: then the dead pin is removed.
func updatePinned(path string, iface netlink.Link, prog *ebpf.Program) (bool, error) {
	pinned, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open pinned link %s: %w", path, err)
	}
	defer pinned.Close()
	if bpfpin.Interface(pinned) != iface.Attrs().Index {
		return false, pinned.Unpin()
	}
	err = pinned.Update(prog)
	if errors.Is(err, unix.ENOLINK) {
		return false, pinned.Unpin()
	}
	if err != nil {
		return false, fmt.Errorf("update pinned link %s: %w", path, err)
	}
	return true, nil
}

func (l *Loader) detachKind(iface netlink.Link, kind string) error {
	return bpfpin.Detach(l.linkPath(iface, kind))
}

package backendhost

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/bpfpin"
)

// What holds the program, as users see it.
const (
	xdpNative  = "xdp native"
	xdpGeneric = "xdp generic"
	tcx        = "tcx"
	clsact     = "clsact filter"
)

const hookKey = "hook"

// hookItem wants the decapsulation program on the interface, with maps that say
// whose packets it accepts.
type hookItem struct {
	config *Config
	state  *state
}

func (i *hookItem) look() (*Problem, error) {
	what, err := i.wrong()
	if what == "" || err != nil {
		return nil, err
	}
	return &Problem{What: what, Mend: i.config.Command(i.state.dirs)}, nil
}

// wrong says what is, in words; nothing if all is right.
func (i *hookItem) wrong() (string, error) {
	r := i.state.find(hookKey)
	missing := fmt.Sprintf("no program takes the outer headers off on %s", i.config.Interface)
	if r == nil {
		return missing, nil
	}
	h := r.Hook
	attached, err := h.attached()
	switch {
	case err != nil:
		return "", err
	case !attached:
		return missing, nil
	case h.Interface != i.config.Interface || i.config.Hook != HookAuto && i.config.Hook != h.family():
		return fmt.Sprintf("the program is on %s by %s", h.Interface, h.Hook), nil
	}
	p, err := newProgram(h.family(), i.config)
	if err != nil {
		return "", err
	}
	if p.fingerprint != h.Fingerprint {
		return "the program is of another version of xlb or for another port", nil
	}
	right, err := mapsHold(i.config, i.state.dirs)
	if !right && err == nil {
		return "the program accepts other sources or VIPs", nil
	}
	return "", err
}

func (i *hookItem) record() (*record, error) {
	h := &hook{Pins: i.state.dirs.Pins, Interface: i.config.Interface}
	l, err := findInterface(h.Interface)
	if err != nil {
		return nil, err
	}
	h.Index = l.Attrs().Index
	h.HadQdisc, err = hasClsact(l)
	return &record{Hook: h}, err
}

func (*hookItem) keys() []string { return []string{hookKey} }

// put attaches the program, or brings one that is attached up to date.
func (i *hookItem) put(r *record) (string, error) {
	h := r.Hook
	if i.moves(h) {
		if err := h.detach(); err != nil {
			return "", err
		}
		fresh, err := i.record()
		if err != nil {
			return "", err
		}
		*h = *fresh.Hook
	}
	if err := bpfpin.Prepare(i.state.dirs.Pins); err != nil {
		return "", err
	}
	l, err := findInterface(h.Interface)
	if err != nil {
		return "", err
	}
	if h.Hook != "" {
		updated, err := i.update(l, h)
		if updated || err != nil {
			return "updated the decapsulation program on " + h.Interface, err
		}
	}
	if h.Index != l.Attrs().Index { // another interface has the name by now
		fresh, err := i.record()
		if err != nil {
			return "", err
		}
		*h = *fresh.Hook
	}
	if err := i.attach(l, h); err != nil {
		return "", err
	}
	return fmt.Sprintf("attached the decapsulation program to %s by %s: %s", h.Interface, h.Hook, h.Why), nil
}

// moves says whether the program is where it is not wanted any more.
func (i *hookItem) moves(h *hook) bool {
	return h.Hook != "" && (h.Interface != i.config.Interface || i.config.Hook != HookAuto && i.config.Hook != h.family())
}

// update replaces the program of a live attachment between two packets. It
// returns false if there is none.
func (i *hookItem) update(l netlink.Link, h *hook) (bool, error) {
	attached, err := h.attached()
	if !attached || err != nil {
		return false, err
	}
	p, c, err := i.load(h.family())
	if err != nil {
		return false, err
	}
	defer c.Close()
	if h.Hook == clsact {
		err = putFilter(l, c.Programs[p.name])
	} else {
		err = updatePinned(i.state.dirs.link(), c.Programs[p.name])
	}
	if err == nil {
		h.Fingerprint = p.fingerprint
	}
	return true, err
}

// load loads the program of a hook and fills its maps.
func (i *hookItem) load(family string) (*program, *ebpf.Collection, error) {
	p, err := newProgram(family, i.config)
	if err != nil {
		return nil, nil, err
	}
	c, err := p.load(i.state.dirs)
	if err != nil {
		return nil, nil, err
	}
	if err := fillMaps(i.config, c.Maps); err != nil {
		c.Close()
		return nil, nil, err
	}
	return p, c, nil
}

// attach chooses the hook.
func (i *hookItem) attach(l netlink.Link, h *hook) error {
	switch i.config.Hook {
	case HookXDP:
		native := i.attachXDP(l, h, link.XDPDriverMode)
		if native == nil {
			h.Hook, h.Why = xdpNative, "--hook asks for xdp, and the driver runs it"
			return nil
		}
		generic := i.attachXDP(l, h, link.XDPGenericMode)
		if generic == nil {
			h.Hook, h.Why = xdpGeneric, fmt.Sprintf("--hook asks for xdp, and the driver does not run it: %v", native)
			return nil
		}
		return fmt.Errorf("attach to %s: native XDP: %w; generic XDP: %w", h.Interface, native, generic)
	case HookTC:
		return i.attachTC(l, h, "--hook asks for tc")
	}
	if kind := l.Type(); kind != "device" {
		return i.attachTC(l, h, fmt.Sprintf("%s is a %s, whose large packets TC leaves whole", h.Interface, kind))
	}
	native := i.attachXDP(l, h, link.XDPDriverMode)
	if native == nil {
		h.Hook, h.Why = xdpNative, fmt.Sprintf("%s is a network card whose driver runs XDP", h.Interface)
		return nil
	}
	return i.attachTC(l, h, fmt.Sprintf("no native XDP on %s: %v", h.Interface, native))
}

func (i *hookItem) attachXDP(l netlink.Link, h *hook, mode link.XDPAttachFlags) error {
	p, c, err := i.load(HookXDP)
	if err != nil {
		return err
	}
	defer c.Close()
	made, err := link.AttachXDP(link.XDPOptions{Program: c.Programs[p.name], Interface: l.Attrs().Index, Flags: mode})
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) {
		return foreignXDP(l)
	}
	if err != nil {
		return err
	}
	defer made.Close()
	h.Fingerprint = p.fingerprint
	return bpfpin.Pin(made, i.state.dirs.link())
}

// foreignXDP names the program that is there already.
func foreignXDP(l netlink.Link) error {
	what := "another XDP program"
	if fresh, err := netlink.LinkByIndex(l.Attrs().Index); err == nil && fresh.Attrs().Xdp != nil {
		id := ebpf.ProgramID(fresh.Attrs().Xdp.ProgId)
		what = fmt.Sprintf("another XDP program (id %d%s)", id, programName(id))
	}
	return fmt.Errorf("%s runs there (choose --hook tc)", what)
}

func programName(id ebpf.ProgramID) string {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return ""
	}
	defer p.Close()
	if info, err := p.Info(); err == nil && info.Name != "" {
		return ", " + info.Name
	}
	return ""
}

func (i *hookItem) attachTC(l netlink.Link, h *hook, why string) error {
	p, c, err := i.load(HookTC)
	if err != nil {
		return err
	}
	defer c.Close()
	prog := c.Programs[p.name]
	version, err := kernelVersion()
	if err != nil {
		return fmt.Errorf("kernel version: %w", err)
	}
	hook := tcx
	if version >= linux6_6 {
		err = i.attachTCX(l, prog)
	} else {
		hook = clsact
		err = putFilter(l, prog)
	}
	if err != nil {
		return fmt.Errorf("attach to %s: %w", h.Interface, err)
	}
	h.Hook, h.Why, h.Fingerprint = hook, why, p.fingerprint
	return nil
}

func (i *hookItem) attachTCX(l netlink.Link, prog *ebpf.Program) error {
	made, err := link.AttachTCX(link.TCXOptions{
		Interface: l.Attrs().Index, Program: prog, Attach: ebpf.AttachTCXIngress,
		// First, so that all others see what clients sent.
		Anchor: link.Head(),
	})
	if err != nil {
		return err
	}
	defer made.Close()
	return bpfpin.Pin(made, i.state.dirs.link())
}

func updatePinned(path string, prog *ebpf.Program) error {
	pinned, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return fmt.Errorf("open pinned link %s: %w", path, err)
	}
	defer pinned.Close()
	if err := pinned.Update(prog); err != nil {
		return fmt.Errorf("update pinned link %s: %w", path, err)
	}
	return nil
}

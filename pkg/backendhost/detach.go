package backendhost

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/bpfpin"
)

// hook is an attachment that Apply made. Hook is empty until it is there.
type hook struct {
	Interface string `json:"interface"`
	Index     int    `json:"index"`
	Pins      string `json:"pins"`
	// Hook, Why and Fingerprint are known once the program is attached.
	Hook        string `json:"hook,omitempty"`
	Why         string `json:"why,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
	// HadQdisc: the interface had a clsact qdisc before, which is to stay.
	HadQdisc bool `json:"had_qdisc,omitempty"`
}

func (*hook) key() string { return hookKey }

// family is the flag's word for the hook.
func (h *hook) family() string {
	if h.Hook == xdpNative || h.Hook == xdpGeneric {
		return HookXDP
	}
	return HookTC
}

// device finds the interface; nil if it is gone, or another has its name.
func (h *hook) device() netlink.Link {
	l, err := netlink.LinkByName(h.Interface)
	if err != nil || l.Attrs().Index != h.Index {
		return nil
	}
	return l
}

// attached says whether the program still is where the record says.
func (h *hook) attached() (bool, error) {
	if h.Hook == clsact {
		l := h.device()
		if l == nil {
			return false, nil
		}
		f, err := findFilter(l)
		return f != nil, err
	}
	path := Dirs{Pins: h.Pins}.link()
	pinned, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open pinned link %s: %w", path, err)
	}
	defer pinned.Close()
	return h.device() != nil && bpfpin.Interface(pinned) == h.Index, nil
}

func (h *hook) undo() (string, error) {
	attached, err := h.attached()
	if err == nil {
		err = h.detach()
	}
	if err == nil {
		err = removePins(h.Pins)
	}
	if err != nil || !attached {
		return "", err
	}
	return fmt.Sprintf("removed the decapsulation program from %s", h.Interface), nil
}

// detach takes the program off, whatever held it.
func (h *hook) detach() error {
	path := Dirs{Pins: h.Pins}.link()
	if err := bpfpin.Detach(path); err != nil {
		return err
	}
	l := h.device()
	if l == nil {
		return nil
	}
	return removeFilter(l, h.HadQdisc)
}

// The filter that is ours among those of the clsact qdisc, which holds programs
// before Linux 6.6.
const (
	filterName     = "xlb_backend"
	filterHandle   = 0x786264
	filterPriority = 1
)

func putFilter(l netlink.Link, prog *ebpf.Program) error {
	added := netlink.QdiscAdd(clsactOf(l))
	if added != nil && !errors.Is(added, unix.EEXIST) {
		return fmt.Errorf("add clsact qdisc: %w", added)
	}
	filter := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: l.Attrs().Index, Parent: netlink.HANDLE_MIN_INGRESS,
			Handle: filterHandle, Protocol: unix.ETH_P_ALL, Priority: filterPriority,
		},
		Fd: prog.FD(), Name: filterName, DirectAction: true,
	}
	if err := netlink.FilterReplace(filter); err != nil {
		err = fmt.Errorf("put clsact filter: %w", err)
		if added == nil {
			err = errors.Join(err, netlink.QdiscDel(clsactOf(l)))
		}
		return err
	}
	return nil
}

func clsactOf(l netlink.Link) netlink.Qdisc {
	return &netlink.GenericQdisc{
		QdiscType: "clsact",
		QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
		},
	}
}

func hasClsact(l netlink.Link) (bool, error) {
	all, err := netlink.QdiscList(l)
	if err != nil {
		return false, fmt.Errorf("list qdiscs: %w", err)
	}
	for _, q := range all {
		if q.Type() == "clsact" {
			return true, nil
		}
	}
	return false, nil
}

// findFilter returns nil if ours is not there.
func findFilter(l netlink.Link) (netlink.Filter, error) {
	if there, err := hasClsact(l); !there || err != nil {
		return nil, err
	}
	all, err := netlink.FilterList(l, netlink.HANDLE_MIN_INGRESS)
	if err != nil {
		return nil, fmt.Errorf("list filters: %w", err)
	}
	for _, f := range all {
		if b, ok := f.(*netlink.BpfFilter); ok && b.Handle == filterHandle {
			return f, nil
		}
	}
	return nil, nil
}

// removeFilter removes our filter and, unless it was there before or others use
// it by now, the qdisc.
func removeFilter(l netlink.Link, keepQdisc bool) error {
	f, err := findFilter(l)
	if f == nil || err != nil {
		return err
	}
	if err := netlink.FilterDel(f); err != nil {
		return fmt.Errorf("remove clsact filter from %s: %w", l.Attrs().Name, err)
	}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		others, err := netlink.FilterList(l, parent)
		if err != nil {
			return fmt.Errorf("list filters: %w", err)
		}
		keepQdisc = keepQdisc || len(others) > 0
	}
	if keepQdisc {
		return nil
	}
	if err := netlink.QdiscDel(clsactOf(l)); err != nil {
		return fmt.Errorf("remove clsact qdisc from %s: %w", l.Attrs().Name, err)
	}
	return nil
}

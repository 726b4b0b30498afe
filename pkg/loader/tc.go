package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/bpfpin"
)

// tcHook is a place of TC: the names that tcx and clsact have for it, and its
// pins'.
type tcHook struct {
	kind   string
	attach ebpf.AttachType
	parent uint32
	// handle tells our filter there from others, and from another of ours.
	handle uint32
}

var (
	tcIngress = tcHook{kindTCX, ebpf.AttachTCXIngress, netlink.HANDLE_MIN_INGRESS, filterHandle}
	tcEgress  = tcHook{kindProbe, ebpf.AttachTCXEgress, netlink.HANDLE_MIN_EGRESS, filterHandle}
	// Beside it, for other packets.
	tcInject = tcHook{kindInject, ebpf.AttachTCXEgress, netlink.HANDLE_MIN_EGRESS, filterHandle + 1}
)

// attachTC puts a program on the interface and returns what holds it: a tcx link
// (Linux 6.6), or a filter of the clsact qdisc on older kernels.
func (l *Loader) attachTC(iface netlink.Link, p *programLoader, part part, at tcHook) (string, error) {
	prog, err := p.get(part)
	if err != nil {
		return "", err
	}
	err = l.tcx(iface, prog, at)
	if err == nil {
		// An earlier run may have had no tcx.
		return "tcx link", removeFilter(iface, at)
	}
	if !errors.Is(err, ebpf.ErrNotSupported) && !errors.Is(err, unix.EINVAL) {
		return "", err
	}
	if err := putFilter(iface, prog, at); err != nil {
		return "", err
	}
	return "clsact filter", nil
}

func (l *Loader) putTCX(iface netlink.Link, prog *ebpf.Program, at tcHook) error {
	path := l.linkPath(iface, at.kind)
	if done, err := updatePinned(path, iface, prog); done || err != nil {
		return err
	}
	made, err := link.AttachTCX(link.TCXOptions{
		Interface: iface.Attrs().Index, Program: prog, Attach: at.attach,
		// First, so that no other program sees half of our traffic.
		Anchor: link.Head(),
	})
	if err != nil {
		return fmt.Errorf("tcx: %w", err)
	}
	defer made.Close()
	return bpfpin.Pin(made, path)
}

// The filters that are ours among those of the clsact qdisc.
const (
	filterName     = "xlb"
	filterHandle   = 0x786c62 // "xlb"
	filterPriority = 1
)

func putFilter(iface netlink.Link, prog *ebpf.Program, at tcHook) error {
	qdisc := &netlink.GenericQdisc{
		QdiscType: "clsact",
		QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: iface.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
		},
	}
	if err := netlink.QdiscAdd(qdisc); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add clsact qdisc: %w", err)
	}
	if err := netlink.FilterReplace(filter(iface, prog.FD(), at)); err != nil {
		return fmt.Errorf("put clsact filter: %w", err)
	}
	return nil
}

func filter(iface netlink.Link, fd int, at tcHook) *netlink.BpfFilter {
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: iface.Attrs().Index, Parent: at.parent,
			Handle: at.handle, Protocol: unix.ETH_P_ALL, Priority: filterPriority,
		},
		Fd: fd, Name: filterName, DirectAction: true,
	}
}

// removeFilter removes our filter, if it is there. The qdisc stays: others may
// use it, and empty it costs nothing.
func removeFilter(iface netlink.Link, at tcHook) error {
	filters, err := netlink.FilterList(iface, at.parent)
	if err != nil {
		return nil // no clsact qdisc, so no filter
	}
	for _, f := range filters {
		b, ok := f.(*netlink.BpfFilter)
		if !ok || b.Handle != at.handle {
			continue
		}
		if err := netlink.FilterDel(f); err != nil {
			return fmt.Errorf("remove clsact filter from %s: %w", iface.Attrs().Name, err)
		}
	}
	return nil
}

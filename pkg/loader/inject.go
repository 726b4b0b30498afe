package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// Injector puts packets that the daemon was asked about on their way again, by
// the interface that they came in by, or answers them. Its methods may be called
// from several goroutines, but for Close.
type Injector struct {
	loader *Loader
	// programs hold the XDP program if some interface runs it natively.
	programs Programs
	native   map[int]bool // by interface index
	lo       int
	socket   int // sends frames, receives none
}

// Injector attaches what is needed to inject packets: a program at the egress of
// lo, which must be up. There may be one Injector at a time. Needs CAP_NET_RAW.
func (l *Loader) Injector() (*Injector, error) {
	i := &Injector{loader: l, native: map[int]bool{}, socket: -1}
	if err := i.open(); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

func (i *Injector) open() error {
	l := i.loader
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("interface lo: %w", err)
	}
	i.lo = lo.Attrs().Index
	p := &programLoader{set: l.maps, settings: l.options.Settings}
	defer func() { i.programs = p.programs }()
	hook, err := l.attachTC(lo, p, partInject, tcInject)
	if err != nil {
		return fmt.Errorf("attach to interface lo: %w", err)
	}
	for _, a := range l.attachments {
		if a.Mode != model.AttachNative {
			continue
		}
		iface, err := netlink.LinkByName(a.Interface)
		if err != nil {
			return fmt.Errorf("interface %q: %w", a.Interface, err)
		}
		if _, err := p.get(partXDP); err != nil {
			return err
		}
		i.native[iface.Attrs().Index] = true
	}
	i.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		i.socket = -1
		return fmt.Errorf("open packet socket: %w", err)
	}
	l.options.Log.Info("packets of new flows can be injected: attached", "interface", "lo", "hook", hook)
	return nil
}

// Inject makes the packet come in once more, and be what the data plane decides
// now. An incomplete checksum in its frame is completed. Call it in the network
// namespace of the interfaces.
func (i *Injector) Inject(u *maps.Upcall) error {
	if err := completeChecksum(u); err != nil {
		return fmt.Errorf("inject packet from %v to %v: %w", u.Source, u.Destination, err)
	}
	send := i.sendThroughLo
	if i.takesLiveFrames(u) {
		send = i.runLive
	}
	if err := send(u); err != nil {
		return fmt.Errorf("inject packet from %v to %v: %w", u.Source, u.Destination, err)
	}
	return nil
}

// The longest frame that certainly fits a page beside what the kernel keeps
// there.
const liveFrame = 3072

// takesLiveFrames says which way a packet takes: the XDP program runs for it as
// for one from the wire, or it goes through lo to the TC program, which stands
// behind native XDP too. The kernel makes a pool of pages for each run, so that
// the first way takes several times as long; but the packet leaves as the flow's
// other packets do. See BenchmarkInject.
func (i *Injector) takesLiveFrames(u *maps.Upcall) bool {
	return u.XDP && i.native[u.Ifindex] && len(u.Frame) <= liveFrame
}

// runLive runs the XDP program, and does with the packet what it says (Linux
// 5.18).
func (i *Injector) runLive(u *maps.Upcall) error {
	// struct xdp_md; its fields are 32 bits wide.
	const dataEnd, ingress, size = 4, 12, 24
	context := make([]byte, size)
	binary.NativeEndian.PutUint32(context[dataEnd:], uint32(len(u.Frame)))
	binary.NativeEndian.PutUint32(context[ingress:], uint32(u.Ifindex))
	_, err := i.programs.XDP.Run(&ebpf.RunOptions{
		Data: u.Frame, Context: context, Repeat: 1, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES, BatchSize: 1,
	})
	if err != nil {
		return fmt.Errorf("run XDP program for interface %d: %w", u.Ifindex, err)
	}
	return nil
}

// sendThroughLo sends the packet to lo, where the program redirects it by its
// mark.
func (i *Injector) sendThroughLo(u *maps.Upcall) error {
	if u.Ifindex != u.Ifindex&bpf.InjectInterface {
		return fmt.Errorf("interface %d: injected packets have no room for numbers above %d", u.Ifindex, bpf.InjectInterface)
	}
	return i.send(i.lo, u.Frame, bpf.InjectMark|uint32(u.Ifindex))
}

// send sends a frame out of an interface; mark 0 is none.
func (i *Injector) send(ifindex int, frame []byte, mark uint32) error {
	var control []byte
	if mark != 0 {
		control = markMessage(mark)
	}
	_, err := unix.SendmsgN(i.socket, frame, control, &unix.SockaddrLinklayer{Ifindex: ifindex}, 0)
	if err != nil {
		return fmt.Errorf("send %d bytes out of interface %d: %w", len(frame), ifindex, err)
	}
	return nil
}

// markMessage is the control message that marks one packet.
func markMessage(mark uint32) []byte {
	b := make([]byte, unix.CmsgSpace(4))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.SOL_SOCKET, unix.SO_MARK
	h.SetLen(unix.CmsgLen(4))
	binary.NativeEndian.PutUint32(b[unix.CmsgLen(0):], mark)
	return b
}

// Close detaches what Injector attached.
func (i *Injector) Close() error {
	var errs []error
	if i.socket >= 0 {
		errs = append(errs, unix.Close(i.socket))
		i.socket = -1
	}
	return errors.Join(append(errs, i.programs.Close(), i.loader.detachInject())...)
}

func (l *Loader) detachInject() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("interface lo: %w", err)
	}
	return errors.Join(l.detachKind(lo, kindInject), removeFilter(lo, tcInject))
}

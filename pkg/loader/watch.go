package loader

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	xlbmaps "github.com/xlb-io/xlb/pkg/maps"
)

// A burst of changes, such as a restart of the network, is looked at once; after
// a failure the kernel is asked again a little later.
const (
	settle  = 50 * time.Millisecond
	tryLate = time.Second
)

// hostWatch follows what the data plane and the control plane must know of the
// host while they run: VLAN devices and own addresses.
type hostWatch struct {
	handle *netlink.Handle // of the namespace in which it began
	set    *xlbmaps.Set
	log    *slog.Logger

	complaint string // of setVLANs, said once

	mu        sync.Mutex
	addresses map[netip.Addr]string
	changed   chan struct{} // holds one

	stop context.CancelFunc
	done chan struct{}
}

// watchHost reads the host's state, and goes on doing so until close.
func watchHost(set *xlbmaps.Set, log *slog.Logger) (*hostWatch, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &hostWatch{handle: handle, set: set, log: log, changed: make(chan struct{}, 1), stop: stop, done: make(chan struct{})}
	// First, so that no change is missed.
	events, err := subscribe(ctx)
	if err == nil {
		err = w.refresh()
	}
	if err != nil {
		stop()
		events.drain()
		handle.Close()
		return nil, err
	}
	go w.run(ctx, events)
	return w, nil
}

func (w *hostWatch) close() {
	w.stop()
	<-w.done
	w.handle.Close()
}

// run refreshes after changes. A subscription that broke, for example because
// the kernel had more to say than its buffer holds, is not made again: it would
// belong to the namespace of whatever thread this is. The state is then asked for
// every second.
func (w *hostWatch) run(ctx context.Context, events subscription) {
	defer close(w.done)
	defer events.drain()
	var due <-chan time.Time
	heard := func(open bool) {
		if !open && ctx.Err() == nil {
			w.log.Warn("the kernel no longer tells of changes of interfaces; asking every second")
		}
		if due == nil {
			due = time.After(settle)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-events.links:
			if !open {
				events.links = nil
			}
			heard(open)
		case _, open := <-events.addresses:
			if !open {
				events.addresses = nil
			}
			heard(open)
		case <-due:
			due = nil
			err := w.refresh()
			if err != nil {
				w.log.Error("cannot follow the host's interfaces; trying again", "error", err)
			}
			if err != nil || events.links == nil || events.addresses == nil {
				due = time.After(tryLate)
			}
		}
	}
}

// refresh reads the host's state and hands it on.
func (w *hostWatch) refresh() error {
	links, err := w.handle.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	w.setVLANs(links)
	list, err := w.handle.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	now := addressesOf(links, list)
	w.mu.Lock()
	same := maps.Equal(w.addresses, now)
	w.addresses = now
	w.mu.Unlock()
	if !same {
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
	return nil
}

// setVLANs tells the data plane; what does not fit is no reason to stop.
func (w *hostWatch) setVLANs(links []netlink.Link) {
	n, err := w.set.SetVLANs(vlansOf(links))
	if text := fmt.Sprint(err); err != nil && text != w.complaint {
		w.complaint = text
		w.log.Error("packets that leave by some VLAN devices are passed to the kernel's stack", "error", err)
	}
	if n > 0 {
		w.log.Debug("VLAN devices changed", "entries", n)
	}
}

// vlansOf are the VLAN devices, by index. A parent in another namespace is out of
// reach.
func vlansOf(links []netlink.Link) map[uint32]xlbmaps.VLAN {
	out := map[uint32]xlbmaps.VLAN{}
	for _, l := range links {
		v, ok := l.(*netlink.Vlan)
		if !ok || v.ParentIndex == 0 || v.NetNsID >= 0 {
			continue
		}
		out[uint32(v.Index)] = xlbmaps.VLAN{
			Parent: uint32(v.ParentIndex), ID: uint16(v.VlanId), Protocol: xlbmaps.VLANProtocol(v.VlanProtocol),
		}
	}
	return out
}

// HostAddresses returns this host's addresses with the interfaces that have them.
func HostAddresses() (map[netip.Addr]string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	return addressesOf(links, list), nil
}

// addressesOf are the host's addresses with the interfaces that have them.
func addressesOf(links []netlink.Link, list []netlink.Addr) map[netip.Addr]string {
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	out := make(map[netip.Addr]string, len(list))
	for _, a := range list {
		if a.IPNet == nil {
			continue
		}
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			out[addr.Unmap()] = names[a.LinkIndex]
		}
	}
	return out
}

// subscription is a stream of changes, until its context ends.
type subscription struct {
	links     chan netlink.LinkUpdate
	addresses chan netlink.AddrUpdate
}

func subscribe(ctx context.Context) (s subscription, err error) {
	links, addresses := make(chan netlink.LinkUpdate), make(chan netlink.AddrUpdate)
	if err := netlink.LinkSubscribe(links, ctx.Done()); err != nil {
		return s, fmt.Errorf("subscribe to changes of interfaces: %w", err)
	}
	s.links = links
	if err := netlink.AddrSubscribe(addresses, ctx.Done()); err != nil {
		return s, fmt.Errorf("subscribe to changes of addresses: %w", err)
	}
	s.addresses = addresses
	return s, nil
}

// drain waits until nobody sends any more; the context must have ended.
func (s subscription) drain() {
	if s.links != nil {
		for range s.links {
		}
	}
	if s.addresses != nil {
		for range s.addresses {
		}
	}
}

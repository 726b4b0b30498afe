package loader_test

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// answer is what the daemon that a test plays does with a packet.
type answer struct {
	decision maps.Decision
	reject   bool
}

// daemon takes upcalls in the balancer's namespace and does as it is told.
type daemon struct {
	injector *loader.Injector
	reader   *maps.UpcallReader
	asked    atomic.Uint64
	done     chan error
}

// startDaemon gives every service of the network policies, and plays the daemon
// until the test ends or stop is called.
func (n *network) startDaemon(t *testing.T, l *loader.Loader, answers func(*maps.Upcall) answer) *daemon {
	t.Helper()
	n.fillWithPolicies(t, l)
	d := &daemon{done: make(chan error, 1)}
	err := n.Balancer.Do(func() (err error) {
		if d.injector, err = l.Injector(); err == nil {
			d.reader, err = l.Maps().Upcalls()
		}
		return errors.Join(err, l.Maps().Heartbeat())
	})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	go func() {
		d.done <- n.Balancer.Do(func() error { return d.serve(l.Maps(), answers) })
	}()
	t.Cleanup(func() { n.stop(t, d) })
	return d
}

func (d *daemon) serve(set *maps.Set, answers func(*maps.Upcall) answer) error {
	var u maps.Upcall
	for {
		d.reader.SetDeadline(time.Now().Add(200 * time.Millisecond))
		err := d.reader.Read(&u)
		if errors.Is(err, os.ErrClosed) {
			return set.Away()
		}
		beat := set.Heartbeat()
		if errors.Is(err, os.ErrDeadlineExceeded) && beat == nil {
			continue
		}
		if err := errors.Join(err, beat); err != nil {
			return err
		}
		d.asked.Add(1)
		a := answers(&u)
		put := d.injector.Inject
		if a.reject {
			put = d.injector.Reject
		}
		if err := errors.Join(set.Decide(&u, a.decision), put(&u)); err != nil {
			return err
		}
	}
}

func (n *network) stop(t *testing.T, d *daemon) {
	t.Helper()
	if d.reader == nil {
		return
	}
	if err := errors.Join(d.reader.Close(), <-d.done); err != nil {
		t.Error(err)
	}
	if err := n.Balancer.Do(d.injector.Close); err != nil {
		t.Error(err)
	}
	d.reader = nil
}

// fillWithPolicies drops what the daemon cannot be asked about, so that nothing
// works without it.
func (n *network) fillWithPolicies(t *testing.T, l *loader.Loader) {
	t.Helper()
	have, err := l.Maps().Read()
	if err != nil {
		t.Fatal(err)
	}
	c := n.contents()
	for id, s := range c.Services {
		s.Policy, s.Upcalls, s.UpcallsPerSource = model.OverloadDrop, 100_000, 100_000
		c.Services[id] = s
	}
	if err := l.Maps().Apply(maps.Diff(have, c)); err != nil {
		t.Fatal(err)
	}
}

// counts are the data plane's reasons and events that are not zero.
func counts(t *testing.T, set *maps.Set) map[string]uint64 {
	t.Helper()
	reasons, err := set.Reasons()
	events, err2 := set.Events()
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	out := map[string]uint64{}
	for _, c := range append(reasons, events...) {
		if c.Packets != 0 {
			out[c.Name] = c.Packets
		}
	}
	return out
}

// failures are the counters that say that something did not go as it should.
func failures(c map[string]uint64) map[string]uint64 {
	out := map[string]uint64{}
	for name, n := range c {
		if maps.IsDrop(name) || strings.HasPrefix(name, "upcall_") {
			out[name] = n
		}
	}
	return out
}

// tap sees what leaves a link.
type tap struct {
	t  *testing.T
	fd int
}

func newTap(t *testing.T, n *testlab.Namespace, link string) *tap {
	t.Helper()
	index, err := n.Index(link)
	if err != nil {
		t.Fatal(err)
	}
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	var fd int
	err = n.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20),
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return &tap{t, fd}
}

// syns counts, of what has left so far and was not counted, the SYNs to an
// address.
func (p *tap) syns(to netip.AddrPort) (n int) {
	p.t.Helper()
	matches := testlab.ToPort(to)
	buf := make([]byte, 1<<16)
	for {
		size, from, err := unix.Recvfrom(p.fd, buf, 0)
		if err == unix.EAGAIN {
			return n
		}
		if err != nil {
			p.t.Fatal(err)
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if !ok || ll.Pkttype != unix.PACKET_OUTGOING || !matches(buf[:size]) {
			continue
		}
		transport := 14 + 20
		if to.Addr().Is6() {
			transport = 14 + 40
		}
		const syn, ack = 0x02, 0x10
		if buf[transport+13]&(syn|ack) == syn {
			n++
		}
	}
}

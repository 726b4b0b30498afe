package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// run performs one check of tg over real sockets and returns the reason of its
// failure, or "".
func run(t *testing.T, tg Target) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), tg.Probe.Timeout)
	defer cancel()
	if _, err := newChecker(tg.normal(), (&net.Dialer{KeepAlive: -1}).DialContext, nil).check(ctx); err != nil {
		return err.Error()
	}
	return ""
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// tcpTarget returns a target with an ample timeout.
func tcpTarget(addr net.Addr) Target {
	tg := target("web", addr.String())
	tg.Probe.Timeout = 5 * time.Second
	return tg
}

func TestTCPUp(t *testing.T) {
	noSocketLeft(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l := listen(t, address)
		if reason := run(t, tcpTarget(l.Addr())); reason != "" {
			t.Errorf("%s: %s", address, reason)
		}
	}
}

func TestTCPClosesByReset(t *testing.T) {
	noSocketLeft(t)
	l := listen(t, "127.0.0.1:0")
	if reason := run(t, tcpTarget(l.Addr())); reason != "" {
		t.Fatal(reason)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server's read ended with %v, want a reset", err)
	}
}

func TestTCPRefused(t *testing.T) {
	noSocketLeft(t)
	l := listen(t, "127.0.0.1:0")
	l.Close()
	if got, want := run(t, tcpTarget(l.Addr())), "connect: connection refused"; got != want {
		t.Errorf("reason is %q, want %q", got, want)
	}
}

func TestTCPProbePort(t *testing.T) {
	noSocketLeft(t)
	closed := listen(t, "127.0.0.1:0")
	closed.Close()
	open := listen(t, "127.0.0.1:0")
	tg := tcpTarget(closed.Addr())
	tg.Probe.Port = netip.MustParseAddrPort(open.Addr().String()).Port()
	if reason := run(t, tg); reason != "" {
		t.Error(reason)
	}
}

// TestTCPTimeout probes a server whose accept queue is full: the kernel drops
// the SYN, as for a host that is gone.
func TestTCPTimeout(t *testing.T) {
	noSocketLeft(t)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*syscall.SockaddrInet4).Port))
	for range 4 { // a backlog of 0 holds one connection, some kernels two
		conn, err := net.DialTimeout("tcp", addr.String(), 50*time.Millisecond)
		if err != nil {
			break
		}
		defer conn.Close()
	}
	tg := target("web", addr.String())
	tg.Probe.Timeout = 100 * time.Millisecond
	start := time.Now()
	if got, want := run(t, tg), "timeout after 100ms while connecting"; got != want {
		t.Errorf("reason is %q, want %q", got, want)
	}
	if took := time.Since(start); took < 100*time.Millisecond || took > 3*time.Second {
		t.Errorf("the check took %s, want its timeout of 100 ms", took)
	}
}

func TestOutOfDescriptorsIsNotTheBackendsFault(t *testing.T) {
	dial := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.OpError{Op: "socket", Err: syscall.EMFILE}}
	}
	_, err := newChecker(target("web", "10.0.0.1:80"), dial, nil).check(t.Context())
	if !errors.Is(err, errLocal) {
		t.Errorf("%v is blamed on the backend", err)
	}
	if want := "not probed, this host is out of resources: too many open files"; err == nil || err.Error() != want {
		t.Errorf("reason is %v, want %q", err, want)
	}
}

func TestUnknownProbeTypeFails(t *testing.T) {
	tg := target("web", "127.0.0.1:1")
	tg.Probe.Type = "gopher"
	if got, want := run(t, tg), `unknown probe type "gopher"`; got != want {
		t.Errorf("reason is %q, want %q", got, want)
	}
}

func TestNoneNeedsNoCheck(t *testing.T) {
	for _, typ := range []model.ProbeType{model.ProbeNone, ""} {
		tg := target("web", "127.0.0.1:1")
		tg.Probe.Type = typ
		if c := newChecker(tg, nil, nil); c != nil {
			t.Errorf("type %q has the check %T", typ, c)
		}
	}
}

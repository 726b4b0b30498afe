package probe

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/pkg/model"
)

// A probe via the VIP connects to the VIP's port or the probe's, from the source,
// with the mark, and with small segments.
func TestViaSocket(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("marks need root")
	}
	for _, c := range []struct{ vip, source string }{{"127.0.0.1", "127.0.0.5"}, {"::1", "::1"}} {
		listener, err := net.Listen("tcp", net.JoinHostPort(c.vip, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		seen := make(chan string, 2)
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					close(seen)
					return
				}
				host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
				seen <- host
				conn.Close()
			}
		}()
		to := netip.MustParseAddrPort(listener.Addr().String())
		tg := target("web", b)
		tg.Via = Via{VIP: to, Source: netip.MustParseAddr(c.source), Mark: 0x786abcde}
		if _, err := newChecker(tg.normal(), nil, nil).check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if from := <-seen; from != c.source {
			t.Errorf("from %s, want %s", from, c.source)
		}

		tg.Via.VIP = netip.AddrPortFrom(to.Addr(), 1)
		if _, err := newChecker(tg.normal(), nil, nil).check(t.Context()); err == nil {
			t.Error("nobody listens at the frontend's port, and the probe passed")
		}
		tg.Probe.Port = to.Port()
		conn, err := tg.Via.dial(t.Context(), "tcp", address(tg).String())
		if err != nil {
			t.Fatal(err)
		}
		<-seen
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		err = raw.Control(func(fd uintptr) {
			if mark, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK); mark != 0x786abcde || err != nil {
				t.Errorf("mark %#x, %v", mark, err)
			}
			if size, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG); size > 1172 || err != nil {
				t.Errorf("segments of %d bytes, %v", size, err)
			}
		})
		if err != nil {
			t.Error(err)
		}
		conn.Close()
	}
}

// A datagram goes the same way.
func TestViaDatagram(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("marks need root")
	}
	peer, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	v := Via{VIP: netip.MustParseAddrPort(peer.LocalAddr().String()), Source: netip.MustParseAddr("127.0.0.5"), Mark: 0x786abcde}
	conn, err := v.dial(t.Context(), "udp", v.VIP.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if mark, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK); mark != 0x786abcde || err != nil {
			t.Errorf("mark %#x, %v", mark, err)
		}
	}); err != nil {
		t.Error(err)
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	peer.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, from, err := peer.ReadFrom(make([]byte, 8))
	if err != nil || from.(*net.UDPAddr).IP.String() != "127.0.0.5" {
		t.Errorf("from %v, %v", from, err)
	}
}

// A source address that this host has no longer is this host's failure.
func TestViaForeignSource(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("marks need root")
	}
	tg := target("web", a)
	tg.Via = Via{VIP: netip.MustParseAddrPort("192.0.2.10:80"), Source: netip.MustParseAddr("192.0.2.77"), Mark: 1}
	_, err := newChecker(tg.normal(), nil, nil).check(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), errLocal.Error()) {
		t.Errorf("error %v, want %v", err, errLocal)
	}
	if !strings.Contains(innermost(syscall.EADDRNOTAVAIL), "assign") {
		t.Error("EADDRNOTAVAIL is called otherwise")
	}
}

// With another way a target goes on from where it was: its state, and the
// failures so far.
func TestRunnerKeepsStateOnAnotherWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const vip = "192.0.2.1:80"
		n, rec := newNetwork(map[string]string{vip: "..x"}), new(recorder)
		r := start(n, rec, 0)
		defer r.Close()
		tg := target("web", a)
		tg.Probe.Fall = 4
		tg.Via = Via{VIP: netip.MustParseAddrPort(vip), Source: netip.MustParseAddr("192.0.2.2"), Mark: 1}
		r.Apply([]Target{tg})
		for len(n.dialed(vip)) < 4 { // two successes, two failures
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		rec.want(t, "at first", "web "+a+" healthy", "=web "+a+" healthy x")
		before := r.Snapshot()[tg.Key()]
		tg.Via.Mark = 2
		r.Apply([]Target{tg})
		now := r.Snapshot()[tg.Key()]
		now.Next = before.Next // at once
		if now != before {
			t.Errorf("state %+v became %+v", before, now)
		}
		time.Sleep(250 * time.Millisecond) // the third failure
		if s := r.Snapshot()[tg.Key()]; s.State != model.Healthy || s.Streak != 3 {
			t.Errorf("after three failures, one of them by the new way: %+v", s)
		}
		time.Sleep(1100 * time.Millisecond)
		rec.want(t, "four failures", "web "+a+" unhealthy x")
	})
}

// Without a way nothing is sent, the state stays, and the reason says why.
func TestRunnerWithoutWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const vip = "192.0.2.1:80"
		n, rec := newNetwork(map[string]string{vip: "."}), new(recorder)
		r := start(n, rec, 0)
		defer r.Close()
		tg := target("web", a)
		whole := Via{VIP: netip.MustParseAddrPort(vip), Source: netip.MustParseAddr("192.0.2.2"), Mark: 1}
		tg.Via = Via{Problem: "no way"}
		r.Apply([]Target{tg})
		time.Sleep(3 * time.Second)
		rec.want(t, "no way", "=web "+a+" unknown not probed: no way")
		if d := n.dialed(vip); len(d) > 0 {
			t.Errorf("%d connections", len(d))
		}
		tg.Via = whole
		r.Apply([]Target{tg})
		time.Sleep(time.Second)
		rec.want(t, "a way", "web "+a+" healthy")
		tg.Via = Via{Problem: "no way"}
		r.Apply([]Target{tg})
		time.Sleep(3 * time.Second)
		rec.want(t, "no way again", "=web "+a+" healthy not probed: no way")
	})
}

// The Host header of a probe is whom it is sent to.
func TestViaHost(t *testing.T) {
	tg := target("web", a)
	tg.Probe.Type, tg.Probe.HTTP.Method = model.ProbeHTTP, "GET"
	tg.Via = Via{VIP: netip.MustParseAddrPort("192.0.2.1:80"), Source: netip.MustParseAddr("192.0.2.2"), Mark: 1}
	none := func(context.Context, string, string) (net.Conn, error) { return nil, nil }
	if h := newChecker(tg, none, nil).(*httpCheck).host; h != "192.0.2.1" {
		t.Errorf("Host: %s", h)
	}
}

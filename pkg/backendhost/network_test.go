package backendhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
)

const (
	tcpPort = 7
	udpPort = 8
)

var (
	client4 = netip.MustParseAddr("10.0.0.1")
	client6 = netip.MustParseAddr("fd00::1")
)

// network is a client and a backend on one cable, eth0 to eth0. The client
// sends what is for a VIP to the backend's MAC address, as a balancer with l2dsr
// would.
type network struct {
	t               *testing.T
	lab             *testlab.Lab
	client, backend *testlab.Namespace
	dirs            Dirs
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	needRoot(t)
	lab, err := testlab.New("backendhost")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	pins := fmt.Sprintf("/sys/fs/bpf/xlb-backend-test-%d", os.Getpid())
	n := &network{t: t, lab: lab, dirs: Dirs{State: filepath.Join(t.TempDir(), "state"), Pins: pins}}
	n.client, err = lab.Namespace("client")
	if err == nil {
		n.backend, err = lab.Namespace("backend")
	}
	if err == nil {
		err = lab.Veth(
			testlab.End{Namespace: n.client, Name: "eth0", Addresses: []netip.Prefix{netip.PrefixFrom(client4, 24), netip.PrefixFrom(client6, 64)}},
			testlab.End{Namespace: n.backend, Name: "eth0", Addresses: []netip.Prefix{netip.PrefixFrom(backend4, 24), netip.PrefixFrom(backend6, 64)}},
		)
	}
	if err == nil {
		err = errors.Join(
			n.client.AddRoute(whole(vip4), backend4), n.client.AddRoute(whole(vip6), backend6),
			n.backend.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), client4), n.backend.AddRoute(netip.MustParsePrefix("::/0"), client6),
		)
	}
	if err == nil {
		err = n.backend.WaitUp(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.end)
	return n
}

// end removes what a failed test left on the BPF file system.
func (n *network) end() {
	if _, err := n.undo(); err != nil {
		n.t.Error(err)
	}
	if _, err := os.Stat(n.dirs.Pins); err == nil {
		n.t.Errorf("pins are left in %s", n.dirs.Pins)
	}
}

func (n *network) apply(c *Config) (r Result, err error) {
	err = n.backend.Do(func() error {
		r, err = Apply(c, n.dirs)
		return err
	})
	return r, err
}

// mustApply also checks that nothing is wrong afterwards.
func (n *network) mustApply(c *Config) Result {
	n.t.Helper()
	r, err := n.apply(c)
	if err != nil {
		n.t.Fatalf("%+v", err)
	}
	if p := n.problems(nil); len(p) > 0 {
		n.t.Errorf("after it was applied: %+v", p)
	}
	return r
}

func (n *network) check(c *Config) (f Findings, err error) {
	err = n.backend.Do(func() error {
		f, err = Check(c, n.dirs)
		return err
	})
	return f, err
}

func (n *network) problems(c *Config) []Problem {
	n.t.Helper()
	f, err := n.check(c)
	if err != nil {
		n.t.Fatal(err)
	}
	if f.OK != (len(f.Problems) == 0) {
		n.t.Errorf("OK is %v with %d problems", f.OK, len(f.Problems))
	}
	return f.Problems
}

func (n *network) undo() (done []string, err error) {
	err = n.backend.Do(func() error {
		done, err = Undo(n.dirs)
		return err
	})
	return done, err
}

// counted is one counter of the tunnel.
func (n *network) counted(reason string) uint64 {
	n.t.Helper()
	all, err := counters(n.dirs)
	if err != nil {
		n.t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(c Counter) bool { return c.Reason == reason })
	if i < 0 {
		n.t.Fatalf("there is no counter %s in %+v", reason, all)
	}
	return all[i].Packets
}

// sh runs a command line in the backend.
func (n *network) sh(line string) string {
	n.t.Helper()
	out, err := n.backend.Command(n.t.Context(), "sh", "-c", line).Output()
	if err != nil {
		n.t.Fatalf("%s: %v", line, err)
	}
	return string(out)
}

// everything is all of the backend that Apply may touch, in text.
func (n *network) everything() string {
	n.t.Helper()
	// The kernel adds the route of an IPv6 address some time after the address.
	n.sh(`timeout 5 sh -c 'for a in $(ip -o -6 address | sed "s/.*inet6 \([^/]*\).*/\1/"); do
		until ip -6 route show table local | grep -q "local $a "; do :; done; done'`)
	return n.sh(`ip -o address; ip -o link | sed "s/ qdisc.*//"; ip rule; ip route show table all; ip -6 route show table all
nft list ruleset; tc qdisc; ls -A /sys/fs/bpf | grep xlb-backend-test`+fmt.Sprintf("-%d", os.Getpid())+` || true
`) + n.sh(`ip -d -o link show eth0 | grep -o "prog/xdp.*" || true; grep -rs . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf | grep -v stable_secret | sort`)
}

// serve starts real servers on the VIPs: TCP bound to each, UDP on all.
func (n *network) serve() {
	n.t.Helper()
	for _, v := range []netip.Addr{vip4, vip6} {
		l, err := n.backend.Listen("tcp", netip.AddrPortFrom(v, tcpPort).String())
		if err != nil {
			n.t.Fatal(err)
		}
		var open sync.WaitGroup
		open.Go(func() { echo(l, &open) })
		n.t.Cleanup(func() {
			l.Close()
			open.Wait()
		})
	}
	s, err := n.backend.StartUDPEcho(udpPort)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { s.Stop() })
}

func echo(l net.Listener, open *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		open.Go(func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			io.Copy(c, c)
		})
	}
}

// talk sends bytes to the VIP and compares the echo.
func (n *network) talk(from netip.Addr, vip netip.Addr, size int, within time.Duration) error {
	ctx, cancel := context.WithTimeout(n.t.Context(), within)
	defer cancel()
	c, err := n.client.DialFrom(ctx, "tcp", netip.AddrPortFrom(from, 0), netip.AddrPortFrom(vip, tcpPort))
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(within))
	text := []byte(strings.Repeat("0123456789abcdef", (size+15)/16))
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(text)
		sent <- err
	}()
	got := make([]byte, len(text))
	_, err = io.ReadFull(c, got)
	if err == nil && string(got) != string(text) {
		err = errors.New("the echo differs")
	}
	c.Close() // ends a write that waits
	return errors.Join(err, <-sent)
}

func (n *network) ask(vip netip.Addr) error {
	_, _, err := n.client.AskUDP(n.t.Context(), netip.AddrPortFrom(vip, udpPort), []byte("hello"), 10, 100*time.Millisecond)
	return err
}

func clientOf(v6 bool) netip.Addr {
	if v6 {
		return client6
	}
	return client4
}

func vipOf(v6 bool) netip.Addr {
	if v6 {
		return vip6
	}
	return vip4
}

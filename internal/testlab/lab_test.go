package testlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	EchoMain()
	if os.Getenv(victimVariable) != "" {
		fmt.Fprintln(os.Stderr, playVictim())
		os.Exit(1)
	}
	before, err := TakeSnapshot()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if code == 0 {
		if err := before.Leaks(5 * time.Second); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// newLab is a lab that ends with the test and must leave nothing behind.
func newLab(t *testing.T) *Lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	l, err := New("test")
	must(t, err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func newNamespaceIn(t *testing.T, l *Lab, name string) *Namespace {
	t.Helper()
	n, err := l.Namespace(name)
	must(t, err)
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// waitFor polls until cond holds.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 10 s for %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func networkOf(t *testing.T, path string) string {
	t.Helper()
	target, err := os.Readlink(path)
	must(t, err)
	return target
}

func TestNamesThatCannotBe(t *testing.T) {
	for _, name := range []string{"", "Upper", "has-dash", "seventeenletters0", "slash/"} {
		if _, err := New(name); err == nil {
			t.Errorf("lab %q was accepted", name)
		}
	}
	l := newLab(t)
	for _, name := range []string{"", "a/b", "..", strings.Repeat("x", 33)} {
		if _, err := l.Namespace(name); err == nil {
			t.Errorf("namespace %q was accepted", name)
		}
	}
	newNamespaceIn(t, l, "twice")
	if _, err := l.Namespace("twice"); err == nil {
		t.Error("the same namespace was made twice")
	}
}

func TestNamespaceIsNamedAndRemoved(t *testing.T) {
	l := newLab(t)
	n := newNamespaceIn(t, l, "one")
	path := filepath.Join(netnsDir, n.FullName)
	host := networkOf(t, "/proc/self/ns/net")
	var inside string
	must(t, n.Do(func() error {
		inside = networkOf(t, "/proc/thread-self/ns/net")
		return nil
	}))
	var named, own unix.Stat_t
	must(t, unix.Stat(path, &named))
	must(t, unix.Fstat(n.fd, &own))
	if inside == host || named.Ino != own.Ino {
		t.Errorf("inside %s, host %s, named inode %d, own %d", inside, host, named.Ino, own.Ino)
	}
	if got := networkOf(t, "/proc/self/ns/net"); got != host {
		t.Errorf("the process moved from %s to %s", host, got)
	}
	must(t, l.Close())
	must(t, l.Close())
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", path, err)
	}
	if err := n.Do(func() error { return nil }); !errors.Is(err, errClosed) {
		t.Errorf("a removed namespace was entered: %v", err)
	}
	if _, err := l.Namespace("late"); !errors.Is(err, errClosed) {
		t.Errorf("a closed lab made a namespace: %v", err)
	}
}

// Every thread must be home again after Do, also when fn leaves by Goexit.
func TestDoLeavesNoThreadInside(t *testing.T) {
	l := newLab(t)
	n := newNamespaceIn(t, l, "one")
	host := networkOf(t, "/proc/self/ns/net")
	failed := errors.New("failed")
	if err := n.Do(func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("Do returned %v", err)
	}
	ended := make(chan bool)
	go func() {
		returned := false
		defer func() { ended <- returned }()
		_ = n.Do(func() error {
			runtime.Goexit()
			return nil
		})
		returned = true
	}()
	if <-ended {
		t.Error("Goexit inside did not end the caller")
	}
	done := make(chan error)
	for range 16 {
		go func() { done <- n.Do(func() error { return n.Do(func() error { return nil }) }) }()
	}
	for range 16 {
		must(t, <-done)
	}
	tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
	must(t, err)
	for _, task := range tasks {
		// A thread that ended meanwhile cannot be read.
		if got, err := os.Readlink(task); err == nil && got != host {
			t.Errorf("%s is in %s, not in %s", task, got, host)
		}
	}
}

func TestSysctl(t *testing.T) {
	l := newLab(t)
	n := newNamespaceIn(t, l, "one")
	read := func() (value string) {
		must(t, n.Do(func() error {
			b, err := os.ReadFile("/proc/sys/net/ipv4/conf/lo/arp_ignore")
			value = strings.TrimSpace(string(b))
			return err
		}))
		return value
	}
	for _, key := range []string{"net.ipv4.conf.lo.arp_ignore", "net/ipv4/conf/lo/arp_ignore"} {
		for _, value := range []string{"1", "2"} {
			must(t, n.Sysctl(key, value))
			if got := read(); got != value {
				t.Errorf("%s is %s after setting %s", key, got, value)
			}
		}
	}
	if err := n.Sysctl("net.ipv4.no_such_thing", "1"); err == nil {
		t.Error("an unknown sysctl was set")
	}
}

func TestSweep(t *testing.T) {
	l := newLab(t)
	alive := newNamespaceIn(t, l, "alive")
	// No process id is that high (PID_MAX_LIMIT is 2²²).
	dead := "xlb-test-4194305-1-left"
	fd, err := newNamespace(dead)
	must(t, err)
	must(t, unix.Close(fd))
	t.Cleanup(func() { must(t, removeNamespace(dead)) })
	removed, err := Sweep()
	must(t, err)
	if !slices.Contains(removed, dead) || slices.Contains(removed, alive.FullName) {
		t.Errorf("swept %v: want %s among them, and not %s", removed, dead, alive.FullName)
	}
	if _, err := os.Lstat(filepath.Join(netnsDir, dead)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", dead, err)
	}
	must(t, alive.Do(func() error { return nil }))
}

func TestVethFeaturesAndAddresses(t *testing.T) {
	l := newLab(t)
	a, b := newNamespaceIn(t, l, "a"), newNamespaceIn(t, l, "b")
	mac := []byte{2, 0, 0, 0, 0, 7}
	must(t, l.Veth(
		End{Namespace: a, Name: "x0", MTU: 9000, Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.0.1/24")}},
		End{Namespace: b, Name: "x0", MAC: mac, Features: ForXDP}))
	if f, err := a.Features("x0"); err != nil || !f.TxChecksum {
		t.Errorf("features left alone are %+v, %v", f, err)
	}
	if f, err := b.Features("x0"); err != nil || f != *ForXDP {
		t.Errorf("features asked for are %+v, %v", f, err)
	}
	must(t, b.SetFeatures("x0", Features{TxChecksum: true}))
	if f, err := b.Features("x0"); err != nil || f != (Features{TxChecksum: true}) {
		t.Errorf("features set back are %+v, %v", f, err)
	}
	if _, err := b.Features("nosuch"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("features of a missing link: %v", err)
	}
	got, err := b.MAC("x0")
	if err != nil || !slices.Equal(got, mac) {
		t.Errorf("mac is %s, %v", got, err)
	}
	for _, e := range []struct {
		n   *Namespace
		mtu int
	}{{a, 9000}, {b, 1500}} {
		_, link, err := e.n.link("x0")
		must(t, err)
		if link.Attrs().MTU != e.mtu {
			t.Errorf("%s has MTU %d, want %d", e.n.Name, link.Attrs().MTU, e.mtu)
		}
	}
	err = l.Veth(End{Namespace: a, Name: "y0"}, End{Namespace: b, Name: "x0"})
	if err == nil {
		t.Error("two links of one name")
	}
	if _, err := a.Index("y0"); err == nil {
		t.Error("half of a failed cable stayed")
	}
	if err := l.Veth(End{Namespace: a, Name: "y0", Bridge: "none"}, End{Namespace: b, Name: "y0"}); err == nil {
		t.Error("plugged into a missing bridge")
	}
	if _, err := a.Index("y0"); err == nil {
		t.Error("a cable that could not be configured stayed")
	}
}

// A descriptor that outlives the lab keeps the namespace, but not its links.
func TestCloseRemovesLinksOfHeldNamespace(t *testing.T) {
	l := newLab(t)
	other := newLab(t)
	a, b := newNamespaceIn(t, l, "a"), newNamespaceIn(t, other, "b")
	must(t, l.Veth(End{Namespace: a, Name: "x0"}, End{Namespace: b, Name: "x0"}))
	c, err := a.ListenPacket("udp", ":0")
	must(t, err)
	defer c.Close()
	must(t, l.Close())
	if _, err := b.Index("x0"); err == nil {
		t.Error("the cable outlived its lab")
	}
}

package discovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

const patience = 20 * time.Second

// installed returns the path of a server, or skips the test.
func installed(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin", "/usr/local/sbin") {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path
		}
	}
	t.Skipf("%s is not installed (test/deps test)", name)
	return ""
}

// server is a real server on loopback, as a process of the test.
type server struct {
	t    *testing.T
	argv []string
	out  *testlab.Buffer

	cmd  *exec.Cmd
	done chan struct{}
}

// start starts a server and waits until it is ready.
func start(t *testing.T, ready func() error, argv ...string) *server {
	t.Helper()
	s := &server{t: t, argv: argv, out: new(testlab.Buffer)}
	t.Cleanup(s.stop)
	s.start(ready)
	return s
}

func (s *server) start(ready func() error) {
	s.t.Helper()
	s.cmd, s.done = exec.Command(s.argv[0], s.argv[1:]...), make(chan struct{})
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The death signal comes when the thread that started it ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait()
		}
		close(s.done)
	}()
	if err := <-started; err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, func() error {
		select {
		case <-s.done:
			s.t.Fatalf("%s ended:\n%s", s.argv[0], s.out)
		default:
		}
		return ready()
	})
}

// stop kills the server, as a crash would.
func (s *server) stop() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	select {
	case <-s.done:
	default:
		s.signal(syscall.SIGCONT)
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		<-s.done
	}
}

func (s *server) signal(sig syscall.Signal) {
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Error(err)
	}
}

// eventually waits until try returns nil.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %v", patience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// freePorts returns ports of loopback that are free for TCP and UDP. They are
// below those that the kernel gives to clients, so none takes one meanwhile.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range 1000 {
		if len(ports) == n {
			return ports
		}
		port := 15000 + rand.N(15000)
		l, u, err := listenBoth(port)
		if err != nil {
			continue
		}
		defer l.Close() // after all are found: none twice
		defer u.Close()
		ports = append(ports, port)
	}
	t.Fatal("there are no free ports")
	return nil
}

// listenBoth listens on a port of loopback with TCP and UDP.
func listenBoth(port int) (net.Listener, net.PacketConn, error) {
	address := fmt.Sprintf("127.0.0.1:%d", port)
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	u, err := net.ListenPacket("udp", address)
	if err != nil {
		l.Close()
	}
	return l, u, err
}

// dialable says when something listens.
func dialable(address string) func() error {
	return func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// heard is what a source has said, with the time, or that its Run ended.
type heard struct {
	backends []model.Backend
	warnings []string
	err      error
	at       time.Time
}

func (a heard) String() string {
	if a.err != nil {
		return "error: " + a.err.Error()
	}
	lines := make([]string, len(a.backends))
	for i, b := range a.backends {
		lines[i] = describe(b)
	}
	return strings.Join(append(lines, a.warnings...), "\n")
}

// describe is a backend in short: address, and what differs from weight 1.
func describe(b model.Backend) string {
	s := b.Address.String()
	if b.Weight != 1 {
		s += fmt.Sprintf(" weight=%d", b.Weight)
	}
	if b.Priority != 0 {
		s += fmt.Sprintf(" priority=%d", b.Priority)
	}
	if b.Zone != "" {
		s += " zone=" + b.Zone
	}
	if b.Tags != "" {
		s += " tags=" + string(b.Tags)
	}
	if b.Drain {
		s += " drain"
	}
	if b.ServerID != "" {
		s += " server_id=" + b.ServerID
	}
	return s
}

// follower runs a source as the manager does, but pauses only shortly.
type follower struct {
	t       *testing.T
	answers chan heard
}

func follow(t *testing.T, s Source) *follower {
	t.Helper()
	f := &follower{t: t, answers: make(chan heard, 1024)}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			err := s.Run(ctx, func(backends []model.Backend, warnings ...string) {
				f.answers <- heard{backends: append([]model.Backend(nil), backends...), warnings: warnings, at: time.Now()}
			})
			if ctx.Err() == nil {
				f.answers <- heard{err: err, at: time.Now()}
				_ = pause(ctx, 50*time.Millisecond)
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	return f
}

// next returns the next answer.
func (f *follower) next() heard {
	f.t.Helper()
	select {
	case a := <-f.answers:
		return a
	case <-time.After(patience):
		f.t.Fatal("the source says nothing more")
		return heard{}
	}
}

// until waits for an answer that is right, and returns it.
func (f *follower) until(what string, right func(heard) bool) heard {
	f.t.Helper()
	timeout, last := time.After(patience), heard{}
	for {
		select {
		case last = <-f.answers:
			if right(last) {
				return last
			}
		case <-timeout:
			f.t.Fatalf("never %s; at last:\n%s", what, last)
		}
	}
}

// wants waits for an answer with these backends, as describe writes them, in
// any order.
func (f *follower) wants(backends ...string) heard {
	f.t.Helper()
	return f.until("came:\n"+strings.Join(backends, "\n"), func(a heard) bool {
		if a.err != nil || len(a.backends) != len(backends) {
			return false
		}
		left := make(map[string]int)
		for _, b := range backends {
			left[b]++
		}
		for _, b := range a.backends {
			left[describe(b)]--
		}
		for _, n := range left {
			if n != 0 {
				return false
			}
		}
		return true
	})
}

// fails waits for an error that has the text.
func (f *follower) fails(text string) heard {
	f.t.Helper()
	return f.until("failed with "+text, func(a heard) bool { return a.err != nil && strings.Contains(a.err.Error(), text) })
}

func portOnly(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.Addr{}, port) }

func addresses(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
)

const (
	// startup is how long a server may take until it answers. Databases take
	// seconds on a busy machine.
	startup = 60 * time.Second
	// grace is how long a server may take to end in good order.
	grace = 20 * time.Second
)

// Server is one server, running or stopped.
type Server struct {
	// Namespace is where it runs.
	Namespace *testlab.Namespace
	// Port is where it answers, at every address of the namespace.
	Port uint16
	// Dir holds its configuration and data.
	Dir string

	name string // for messages
	args []string
	env  []string
	who  account
	// stop is the signal that ends it in good order.
	stop unix.Signal
	// ready returns nil once the server answers.
	ready func(ctx context.Context) error

	mu      sync.Mutex
	process *testlab.Process
	log     *testlab.Buffer
}

// newServer makes the directory of a server that runs as who.
func newServer(n *testlab.Namespace, name string, port uint16, who account) (*Server, error) {
	dir, err := os.MkdirTemp("", "xlb-"+name+"-")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s := &Server{Namespace: n, Port: port, Dir: dir, name: name, who: who, stop: unix.SIGTERM, log: new(testlab.Buffer)}
	s.ready = s.connects
	err = errors.Join(n.OnClose(func() error { return os.RemoveAll(dir) }), s.give(dir))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// Start starts a stopped server and returns when it answers.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		return fmt.Errorf("%s in %s runs already", s.name, s.Namespace.Name)
	}
	p := s.command(s.args[0], s.args[1:]...)
	p.Cmd.Stdout, p.Cmd.Stderr = s.log, s.log
	if err := p.Start(); err != nil {
		return fmt.Errorf("%w (install it with: test/deps test)", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startup)
	defer cancel()
	if err := s.await(ctx, p); err != nil {
		return errors.Join(fmt.Errorf("%s in %s: %w\n%s", s.name, s.Namespace.Name, err, s.log), p.Stop(0))
	}
	s.process = p
	return nil
}

// await polls until the server answers.
func (s *Server) await(ctx context.Context, p *testlab.Process) error {
	for {
		err := s.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer within %s: %w", startup, err)
		case <-p.Done():
			return fmt.Errorf("it ended: %v", p.Wait())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// connects tells whether the server's port takes connections.
func (s *Server) connects(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := s.Namespace.Dial(ctx, "tcp", s.local())
	if err != nil {
		return err
	}
	return conn.Close()
}

func (s *Server) local() string { return s.At(netip.AddrFrom4([4]byte{127, 0, 0, 1})).String() }

// At is the server's port at an address of the namespace.
func (s *Server) At(addr netip.Addr) netip.AddrPort { return netip.AddrPortFrom(addr, s.Port) }

// Stop ends the server in good order, and kills it where that takes too long. A
// stopped server stays so.
func (s *Server) Stop() error {
	return s.end(func(p *testlab.Process) error { return p.Signal(s.stop) })
}

// Kill ends the server as a crash would.
func (s *Server) Kill() error { return s.end((*testlab.Process).Kill) }

func (s *Server) end(by func(*testlab.Process) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.process
	if p == nil {
		return nil
	}
	if err := by(p); err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-time.After(grace):
		if err := p.Kill(); err != nil {
			return err
		}
	}
	if _, exited := errors.AsType[*exec.ExitError](p.Wait()); p.Wait() != nil && !exited {
		return p.Wait()
	}
	s.process = nil
	return nil
}

// Freeze stops the server's processes from running, so that connections are taken
// by the kernel and never answered. [Server.Thaw] lets them go on.
func (s *Server) Freeze() error { return s.signalAll(unix.SIGSTOP) }

// Thaw ends a [Server.Freeze].
func (s *Server) Thaw() error { return s.signalAll(unix.SIGCONT) }

func (s *Server) signalAll(sig unix.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return fmt.Errorf("%s in %s does not run", s.name, s.Namespace.Name)
	}
	return unix.Kill(-s.process.Pid(), sig)
}

// Log is what the server has written so far.
func (s *Server) Log() string { return s.log.String() }

// command prepares a program that runs as the server's user, in its directory.
func (s *Server) command(name string, args ...string) *testlab.Process {
	p := s.Namespace.Command(context.Background(), name, args...)
	p.Cmd.Dir = s.Dir
	p.Cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC", "HOME=" + s.Dir}, s.env...)
	if s.who != root {
		p.Cmd.SysProcAttr.Credential = &syscall.Credential{Uid: s.who.uid, Gid: s.who.gid}
	}
	return p
}

// do runs a program of the server's to its end.
func (s *Server) do(name string, args ...string) (string, error) {
	out, err := s.command(name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s in %s: %w %s", s.name, s.Namespace.Name, err, bytes.TrimSpace(out))
	}
	return string(bytes.TrimSpace(out)), nil
}

// write makes a file in the server's directory and returns its path.
func (s *Server) write(name, text string) (string, error) {
	path := filepath.Join(s.Dir, name)
	err := errors.Join(os.WriteFile(path, []byte(text), 0o600), s.give(path))
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.name, err)
	}
	return path, nil
}

func (s *Server) give(path string) error { return os.Chown(path, int(s.who.uid), int(s.who.gid)) }

// account is whom a server runs as.
type account struct{ uid, gid uint32 }

var root account

// accountOf is the first of the named users that this machine has. nobody is
// there always.
func accountOf(names ...string) (account, error) {
	for _, name := range append(names, "nobody") {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		return account{uint32(uid), uint32(gid)}, errors.Join(err1, err2)
	}
	return account{}, fmt.Errorf("no user %v on this machine", names)
}

// listens lists the sockets of a configuration: every address of both families.
func listens(format string, port uint16) string {
	var b bytes.Buffer
	for _, address := range []string{"0.0.0.0", "::"} {
		fmt.Fprintf(&b, format, net.JoinHostPort(address, strconv.Itoa(int(port))))
	}
	return b.String()
}

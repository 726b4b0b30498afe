package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketMode lets root and the socket's group talk to the daemon: who can, can
// drain backends.
const socketMode = 0o660

// Listener is a Unix socket that a [Server] serves.
type Listener struct {
	net.Listener
	path string
}

// Path is where the socket is.
func (l *Listener) Path() string { return l.path }

// Listen makes the socket, mode 0660, and its directory. A socket that a dead
// daemon left is removed; if one answers there, or if there is a file that is
// not a socket, it is an error.
func Listen(path string) (*Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the socket's directory: %w", err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// The mode is set before the socket has a name, so that it is never open
	// to more than it should be.
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), socketMode) }); e != nil {
			return e
		}
		return err
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	if err := os.Chmod(path, socketMode); err != nil { // undo the umask
		l.Close()
		return nil, fmt.Errorf("set the mode of %s: %w", path, err)
	}
	return &Listener{Listener: l, path: path}, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is not a socket (remove it, or choose another socket)", path)
	}
	conn, err := net.DialTimeout("unix", path, dialTimeout)
	if err == nil {
		owner := peer(conn.(*net.UnixConn))
		conn.Close()
		return fmt.Errorf("another daemon, %s, answers at %s (stop it, or choose another socket)", owner, path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("is a daemon alive at %s? %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the socket that a dead daemon left: %w", err)
	}
	return nil
}

// peer names the process that listens at the other end.
func peer(conn *net.UnixConn) string {
	owner := "of unknown process id"
	raw, err := conn.SyscallConn()
	if err != nil {
		return owner
	}
	// An error leaves the owner unknown.
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil && cred.Pid > 0 {
			owner = fmt.Sprintf("process %d", cred.Pid)
		}
	})
	return owner
}

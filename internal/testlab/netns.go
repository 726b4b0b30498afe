package testlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// netnsDir is where iproute2 looks for named namespaces.
const netnsDir = "/run/netns"

// newNamespace makes a network namespace, binds it to /run/netns/name and
// returns a descriptor of it.
func newNamespace(name string) (fd int, err error) {
	if err := prepareNetnsDir(); err != nil {
		return -1, err
	}
	path := filepath.Join(netnsDir, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return -1, err
	}
	f.Close()

	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w (needs root)", err)
		}
		const self = "/proc/thread-self/ns/net"
		if err := unix.Mount(self, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind to %s: %w (needs root)", path, err)
		}
		if fd, err = unix.Open(self, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return fmt.Errorf("open %s: %w", self, err)
		}
		return nil
	})
	if err != nil {
		return -1, errors.Join(err, removeNamespace(name))
	}
	return fd, nil
}

// onThread runs fn on a thread of its own whose network namespace fn may
// change, and brings the thread home. Where that fails the thread dies with
// its goroutine, so nothing else ever runs in the wrong namespace.
//
// It is never the process's first thread: that one stands for the process in
// /proc/self, and cannot die.
func onThread(fn func() error) error {
	var (
		err  error
		exit = true
		done = make(chan struct{})
	)
	var run func()
	run = func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			// This goroutine holds the first thread; the next cannot get it.
			moved := make(chan struct{})
			go func() {
				defer close(moved)
				run()
			}()
			<-moved
			runtime.UnlockOSThread()
			return
		}
		home, openErr := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if openErr != nil {
			runtime.UnlockOSThread()
			err, exit = fmt.Errorf("open own namespace: %w", openErr), false
			return
		}
		defer func() {
			back := unix.Setns(home, unix.CLONE_NEWNET)
			unix.Close(home)
			if back == nil {
				runtime.UnlockOSThread()
			}
		}()
		err = fn()
		exit = false
	}
	go func() {
		defer close(done)
		run()
	}()
	<-done
	if exit {
		runtime.Goexit()
	}
	return err
}

// removeNamespace takes a name away; the namespace itself goes with the last
// process, socket or descriptor that uses it.
func removeNamespace(name string) error {
	path := filepath.Join(netnsDir, name)
	// EINVAL: the file is there but nothing is mounted on it.
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// prepareNetnsDir makes /run/netns a shared mount of its own, as iproute2
// does. Were it left to a later `ip netns add`, that would bind the directory
// over itself and keep hidden copies of our mounts, and our namespaces alive.
func prepareNetnsDir() error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	dir, err := os.Open(netnsDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	// iproute2 takes the same lock around the same steps.
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", netnsDir, err)
	}
	err = unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) {
		if err := unix.Mount(netnsDir, netnsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mount %s: %w (needs root)", netnsDir, err)
		}
		err = unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	}
	if err != nil {
		return fmt.Errorf("share %s: %w (needs root)", netnsDir, err)
	}
	return nil
}

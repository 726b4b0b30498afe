package testlab

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Lab owns namespaces, links, processes and servers, and removes them all in
// Close. Its methods are safe for concurrent use.
type Lab struct {
	prefix string
	cables atomic.Int32

	mu       sync.Mutex
	closed   bool
	closeErr error
	// cleanups run last in, first out; a finished one is nil.
	cleanups []func() error
	spaces   map[string]*Namespace
}

var (
	labSequence atomic.Uint32
	labName     = regexp.MustCompile(`^[a-z0-9]{1,16}$`)
	labPrefix   = regexp.MustCompile(`^xlb-[a-z0-9]{1,16}-([0-9]+)-[0-9]+-`)
	errClosed   = errors.New("lab is closed")
)

// New makes an empty lab. The name (1 to 16 of a-z and 0-9) appears, with the
// process id and a sequence number, in the names of the lab's namespaces, so
// that any number of labs live side by side.
func New(name string) (*Lab, error) {
	if !labName.MatchString(name) {
		return nil, fmt.Errorf("lab name %q: want 1 to 16 of a-z and 0-9", name)
	}
	return &Lab{
		prefix: fmt.Sprintf("xlb-%s-%d-%d-", name, os.Getpid(), labSequence.Add(1)),
		spaces: make(map[string]*Namespace),
	}, nil
}

// Close kills the lab's processes, stops its servers, deletes its links and
// namespaces and returns what could not be removed. Later calls return the
// same error.
func (l *Lab) Close() error {
	l.mu.Lock()
	if l.closed {
		defer l.mu.Unlock()
		return l.closeErr
	}
	// Nothing is added from here on, so the list can be walked unlocked and
	// cleanups may themselves take the lock.
	l.closed = true
	cleanups := l.cleanups
	l.cleanups = nil
	l.mu.Unlock()

	var errs []error
	for i := len(cleanups) - 1; i >= 0; i-- {
		if cleanups[i] != nil {
			errs = append(errs, cleanups[i]())
		}
	}
	err := errors.Join(errs...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeErr = err
	return err
}

// onClose registers fn to run in Close. The returned function forgets it, for
// what has already gone by itself.
func (l *Lab) onClose(fn func() error) (forget func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errClosed
	}
	slot := len(l.cleanups)
	l.cleanups = append(l.cleanups, fn)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.closed {
			l.cleanups[slot] = nil
		}
	}, nil
}

// own registers fn for Close and, when the lab is closed already, runs it at
// once and reports that: what was just made must not outlive the lab.
func (l *Lab) own(fn func() error) error {
	if _, err := l.onClose(fn); err != nil {
		return errors.Join(err, fn())
	}
	return nil
}

// OnClose runs fn when the lab of n closes, before what was made earlier goes. In
// a closed lab it runs fn at once and says so.
func (n *Namespace) OnClose(fn func() error) error { return n.lab.own(fn) }

// Sweep removes the namespaces of labs whose process is gone (killed before
// it could call Close) and returns their names.
func Sweep() (removed []string, err error) {
	entries, err := os.ReadDir(netnsDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sweep left-over namespaces: %w", err)
	}
	var errs []error
	for _, e := range entries {
		m := labPrefix.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		pid, err := strconv.Atoi(m[1])
		if err != nil || !errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			continue
		}
		if err := removeNamespace(e.Name()); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, e.Name())
	}
	return removed, errors.Join(errs...)
}

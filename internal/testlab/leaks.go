package testlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/goleak"
)

// Snapshot is what a process held at one moment: goroutines, open files and
// the names of its labs' namespaces.
type Snapshot struct {
	goroutines goleak.Option
	files      map[string]string
	spaces     map[string]bool
}

// TakeSnapshot notes what the process holds now.
func TakeSnapshot() (*Snapshot, error) {
	s := &Snapshot{goroutines: goleak.IgnoreCurrent()}
	var err error
	if s.files, err = openFiles(); err != nil {
		return nil, err
	}
	s.spaces, err = ownNamespaces()
	return s, err
}

// Leaks says what the process holds more than at the snapshot. What is still
// on its way out has the given time to go.
func (s *Snapshot) Leaks(within time.Duration) error {
	deadline := time.Now().Add(within)
	for {
		err := errors.Join(s.leakedFiles(), s.leakedNamespaces())
		// Last, as it waits for a while itself.
		if err == nil {
			err = goleak.Find(s.goroutines, goleak.IgnoreTopFunction("testing.(*T).Parallel"))
		}
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *Snapshot) leakedFiles() error {
	now, err := openFiles()
	if err != nil {
		return err
	}
	var errs []error
	for fd, target := range now {
		if s.files[fd] != target {
			errs = append(errs, fmt.Errorf("leaked file descriptor %s: %s", fd, target))
		}
	}
	return errors.Join(errs...)
}

func (s *Snapshot) leakedNamespaces() error {
	now, err := ownNamespaces()
	if err != nil {
		return err
	}
	var errs []error
	for name := range now {
		if !s.spaces[name] {
			errs = append(errs, fmt.Errorf("leaked network namespace %s", name))
		}
	}
	return errors.Join(errs...)
}

// openFiles maps each descriptor to what it refers to. The runtime's own
// poller is left out: it opens with the first socket and stays.
func openFiles() (map[string]string, error) {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list open files: %w", err)
	}
	files := make(map[string]string)
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		// ReadDir's own descriptor is gone by now.
		if err != nil || target == "anon_inode:[eventpoll]" || target == "anon_inode:[eventfd]" {
			continue
		}
		files[e.Name()] = target
	}
	return files, nil
}

func ownNamespaces() (map[string]bool, error) {
	entries, err := os.ReadDir(netnsDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list network namespaces: %w", err)
	}
	names := make(map[string]bool)
	for _, e := range entries {
		if strings.Contains(e.Name(), fmt.Sprintf("-%d-", os.Getpid())) && labPrefix.MatchString(e.Name()) {
			names[e.Name()] = true
		}
	}
	return names, nil
}

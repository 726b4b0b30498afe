package backendhost

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The places that are used unless told otherwise.
const (
	DefaultStateDir = "/var/lib/xlb"
	DefaultPinDir   = "/sys/fs/bpf/xlb-backend"
)

// Dirs are the places where the preparation is kept.
type Dirs struct {
	// State holds the file backend-host.json.
	State string
	// Pins is on a BPF file system and holds the tunnels' program and maps.
	Pins string
}

const stateName = "backend-host.json"

func (d Dirs) file() string { return filepath.Join(d.State, stateName) }

// state is the file. Nothing of what its records speak of outlives a boot.
type state struct {
	Boot    string    `json:"boot"`
	Config  *Config   `json:"config,omitempty"`
	Records []*record `json:"records"`

	dirs Dirs
	// void: the file is of another boot.
	void bool
}

// record says how to undo one change; one of its fields is set.
type record struct {
	Setting *setting `json:"setting,omitempty"`
	Address *address `json:"address,omitempty"`
	Table   *table   `json:"table,omitempty"`
	Hook    *hook    `json:"hook,omitempty"`
}

// undoer is what a record holds.
type undoer interface {
	key() string
	// undo says what it did; nothing, if there is nothing to do any more.
	undo() (string, error)
}

func (r *record) content() (undoer, error) {
	switch {
	case r.Setting != nil:
		return r.Setting, nil
	case r.Address != nil:
		return r.Address, nil
	case r.Table != nil:
		return r.Table, nil
	case r.Hook != nil:
		return r.Hook, nil
	}
	return nil, errors.New("a record of a kind that this version of xlb does not know (undo with the version that made it)")
}

// lock keeps other runs out until the file is closed; it dies with its owner.
func lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another xlb backend-host works with %s", dir)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// load reads the file; without one the state is empty. Records of another boot
// are void: what they would undo is undone.
func load(d Dirs) (*state, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("read boot id: %w", err)
	}
	s := &state{dirs: d, Boot: strings.TrimSpace(string(id))}
	text, err := os.ReadFile(d.file())
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	saved := &state{}
	if err := json.Unmarshal(text, saved); err != nil {
		return nil, fmt.Errorf("%s: %w (it says how to undo; mend it or move it away)", d.file(), err)
	}
	s.Config = saved.Config
	if saved.Boot != s.Boot {
		s.void = true
		return s, nil
	}
	for _, r := range saved.Records {
		if _, err := r.content(); err != nil {
			return nil, fmt.Errorf("%s: %w", d.file(), err)
		}
	}
	s.Records = saved.Records
	return s, nil
}

// save replaces the file, so that a crash leaves the old or the new one.
func (s *state) save() error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	part := s.dirs.file() + ".new"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if err := os.Rename(part, s.dirs.file()); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// remove leaves no trace; others may have their files beside ours.
func (s *state) remove() error {
	if err := os.Remove(s.dirs.file()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove state: %w", err)
	}
	return nil
}

// find returns the record of that key, nil if there is none.
func (s *state) find(key string) *record {
	for _, r := range s.Records {
		if c, err := r.content(); err == nil && c.key() == key {
			return r
		}
	}
	return nil
}

// note keeps a record for what is to be changed. What was there before the
// first change counts, so an old record of the same key stays.
func (s *state) note(r *record) (*record, error) {
	c, err := r.content()
	if err != nil {
		return nil, err
	}
	if old := s.find(c.key()); old != nil {
		return old, nil
	}
	s.Records = append(s.Records, r)
	return r, s.save()
}

// undo takes back the changes whose records are chosen, the last one first, and
// goes on after failures. What could be undone is forgotten.
func (s *state) undo(chosen func(key string) bool) ([]string, error) {
	var (
		done []string
		errs []error
	)
	for n := len(s.Records) - 1; n >= 0; n-- {
		c, err := s.Records[n].content()
		if err == nil && !chosen(c.key()) {
			continue
		}
		text := ""
		if err == nil {
			text, err = c.undo()
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if text != "" {
			done = append(done, text)
		}
		s.Records = slices.Delete(s.Records, n, n+1)
		if err := s.save(); err != nil {
			errs = append(errs, err)
		}
	}
	return done, errors.Join(errs...)
}

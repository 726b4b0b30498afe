package control

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// overrideStore keeps what the operator said about backends, in memory and in
// a file. A backend that is no longer configured keeps its override: one that
// was drained for repair must not come back undrained because it was away.
type overrideStore struct {
	path string

	mu      sync.Mutex
	current map[probe.Key]model.Override // replaced, never changed
}

// overrideFile is the file's form.
type overrideFile struct {
	Version   int              `json:"version"`
	Overrides []storedOverride `json:"overrides"`
}

type storedOverride struct {
	Service  string         `json:"service"`
	Backend  netip.AddrPort `json:"backend"`
	Drain    *bool          `json:"drain,omitempty"`
	Deadline *time.Time     `json:"deadline,omitempty"`
	Weight   *uint16        `json:"weight,omitempty"`
	Disabled bool           `json:"disabled,omitempty"`
}

const overrideVersion = 1

// openOverrides keeps overrides in dir, beginning with what [ReadOverrides]
// finds there.
func openOverrides(dir string) (*overrideStore, error) {
	current, err := ReadOverrides(dir)
	if err != nil {
		return nil, err
	}
	return &overrideStore{path: overridePath(dir), current: current}, nil
}

func overridePath(dir string) string { return filepath.Join(dir, "overrides.json") }

// ReadOverrides returns what the operator said about backends, as a daemon with
// this state directory would take it. There is nothing if the directory or its
// file does not exist. A file that cannot be understood is an error: to go on
// without it would send new flows to drained backends.
func ReadOverrides(stateDir string) (map[probe.Key]model.Override, error) {
	out := map[probe.Key]model.Override{}
	path := overridePath(stateDir)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the operator's overrides: %w", err)
	}
	var file overrideFile
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("%s: %w (mend the file, or remove it to forget all drains and weights)", path, err)
	}
	if file.Version != overrideVersion {
		return nil, fmt.Errorf("%s: version %d, this xlb reads version %d (remove the file to forget all drains and weights)", path, file.Version, overrideVersion)
	}
	for _, o := range file.Overrides {
		out[probe.Key{Service: o.Service, Backend: o.Backend}] = model.Override(o)
	}
	return out, nil
}

// all returns every override. The caller must not change it.
func (s *overrideStore) all() map[probe.Key]model.Override {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// set changes the override of one backend and writes the file; an override
// that says nothing is removed. After an error nothing has changed.
func (s *overrideStore) set(key probe.Key, change func(*model.Override)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.current[key]
	if !ok {
		o = model.Override{Service: key.Service, Backend: key.Backend}
	}
	change(&o)
	next := maps.Clone(s.current)
	if next[key] = o; o.Empty() {
		delete(next, key)
	}
	if err := s.write(next); err != nil {
		return fmt.Errorf("keep the operator's overrides: %w", err)
	}
	s.current = next
	return nil
}

// write replaces the file, so that a crash leaves the old or the new one.
func (s *overrideStore) write(all map[probe.Key]model.Override) error {
	file := overrideFile{Version: overrideVersion, Overrides: []storedOverride{}}
	for _, o := range sortedOverrides(all) {
		file.Overrides = append(file.Overrides, storedOverride(o))
	}
	data, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(s.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".overrides-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(append(data, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func sortedOverrides(all map[probe.Key]model.Override) []model.Override {
	return slices.SortedFunc(maps.Values(all), func(a, b model.Override) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), a.Backend.Compare(b.Backend))
	})
}

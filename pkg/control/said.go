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

	"github.com/xlb-io/xlb/internal/statefile"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// Operator is all that the operator said on the command line. It outlives the daemon
// and what it is about: a backend that was drained for repair must not come back
// undrained because it was away. Nothing of it is changed once it holds.
type Operator struct {
	Overrides map[probe.Key]model.Override
	// Backends are those added to services, by the service's name, sorted by
	// address.
	Backends map[string][]model.Backend
	// Services are those added, by name: YAML as it would stand in the file.
	Services map[string]string
	Zones    map[model.DisabledZone]bool
}

// clone returns an Operator whose maps can be changed.
func (o Operator) clone() Operator {
	c := Operator{maps.Clone(o.Overrides), maps.Clone(o.Backends), maps.Clone(o.Services), maps.Clone(o.Zones)}
	c.init()
	return c
}

func (o *Operator) init() {
	if o.Overrides == nil {
		o.Overrides = map[probe.Key]model.Override{}
	}
	if o.Backends == nil {
		o.Backends = map[string][]model.Backend{}
	}
	if o.Services == nil {
		o.Services = map[string]string{}
	}
	if o.Zones == nil {
		o.Zones = map[model.DisabledZone]bool{}
	}
}

// addBackend adds a backend that is not there.
func (o *Operator) addBackend(service string, b model.Backend) {
	list := append(slices.Clone(o.Backends[service]), b)
	slices.SortFunc(list, func(a, b model.Backend) int { return a.Address.Compare(b.Address) })
	o.Backends[service] = list
}

// removeBackend forgets a backend that was added, and what was said of it.
func (o *Operator) removeBackend(service string, address netip.AddrPort) {
	list := slices.DeleteFunc(slices.Clone(o.Backends[service]), func(b model.Backend) bool { return b.Address == address })
	if o.Backends[service] = list; len(list) == 0 {
		delete(o.Backends, service)
	}
	delete(o.Overrides, probe.Key{Service: service, Backend: address})
}

// forget forgets what was said of a service, or of all if it has no name.
func (o *Operator) forget(service string) {
	maps.DeleteFunc(o.Overrides, func(k probe.Key, _ model.Override) bool { return service == "" || k.Service == service })
	maps.DeleteFunc(o.Backends, func(name string, _ []model.Backend) bool { return service == "" || name == service })
	maps.DeleteFunc(o.Services, func(name, _ string) bool { return service == "" || name == service })
	maps.DeleteFunc(o.Zones, func(z model.DisabledZone, _ bool) bool { return service == "" || z.Service == service })
}

// hasBackend says whether a backend was added to a service.
func (o Operator) hasBackend(service string, address netip.AddrPort) bool {
	return slices.ContainsFunc(o.Backends[service], func(b model.Backend) bool { return b.Address == address })
}

// operatorFile is the form in which it is kept. Version 1 had overrides alone.
type operatorFile struct {
	Version   int              `json:"version"`
	Overrides []storedOverride `json:"overrides"`
	Backends  []storedBackend  `json:"backends,omitempty"`
	Services  []storedService  `json:"services,omitempty"`
	Zones     []storedZone     `json:"zones,omitempty"`
}

type storedOverride struct {
	Service  string         `json:"service"`
	Backend  netip.AddrPort `json:"backend"`
	Drain    *bool          `json:"drain,omitempty"`
	Deadline *time.Time     `json:"deadline,omitempty"`
	Weight   *uint16        `json:"weight,omitempty"`
	Disabled bool           `json:"disabled,omitempty"`
}

type storedBackend struct {
	Service  string         `json:"service"`
	Address  netip.AddrPort `json:"address"`
	Weight   uint16         `json:"weight"`
	Zone     string         `json:"zone,omitempty"`
	Tags     []string       `json:"tags,omitempty"`
	Priority uint8          `json:"priority,omitempty"`
	ServerID string         `json:"server_id,omitempty"`
}

type storedService struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

type storedZone struct {
	Zone    string `json:"zone"`
	Service string `json:"service,omitempty"`
}

const operatorVersion = 2

func operatorPath(dir string) string { return filepath.Join(dir, "overrides.json") }

// ReadOperator returns what the operator said, as a daemon with this state
// directory would take it. There is nothing if the directory or its file does not
// exist. A file that cannot be understood is an error: to go on without it would
// send new flows to drained backends.
func ReadOperator(stateDir string) (Operator, error) {
	var out Operator
	out.init()
	path := operatorPath(stateDir)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("read what the operator said: %w", err)
	}
	const forget = "remove the file to forget all that was said on the command line"
	var file operatorFile
	if err := json.Unmarshal(data, &file); err != nil {
		return out, fmt.Errorf("%s: %w (mend it, or %s)", path, err, forget)
	}
	if file.Version < 1 || file.Version > operatorVersion {
		return out, fmt.Errorf("%s: version %d, this xlb reads versions 1 to %d (%s)", path, file.Version, operatorVersion, forget)
	}
	for _, o := range file.Overrides {
		out.Overrides[probe.Key{Service: o.Service, Backend: o.Backend}] = model.Override(o)
	}
	for _, b := range file.Backends {
		out.addBackend(b.Service, model.Backend{Address: b.Address, Weight: b.Weight, Zone: b.Zone, Tags: model.TagsOf(b.Tags...), Priority: b.Priority, ServerID: b.ServerID})
	}
	for _, s := range file.Services {
		out.Services[s.Name] = s.Text
	}
	for _, z := range file.Zones {
		out.Zones[model.DisabledZone(z)] = true
	}
	return out, nil
}

// file puts o into the order of the file.
func (o Operator) file() operatorFile {
	out := operatorFile{Version: operatorVersion, Overrides: []storedOverride{}}
	for _, one := range sortedOverrides(o.Overrides) {
		out.Overrides = append(out.Overrides, storedOverride(one))
	}
	for _, service := range slices.Sorted(maps.Keys(o.Backends)) {
		for _, b := range o.Backends[service] {
			out.Backends = append(out.Backends, storedBackend{service, b.Address, b.Weight, b.Zone, b.Tags.List(), b.Priority, b.ServerID})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Services)) {
		out.Services = append(out.Services, storedService{name, o.Services[name]})
	}
	for _, z := range sortedZones(o.Zones) {
		out.Zones = append(out.Zones, storedZone(z))
	}
	return out
}

// operatorStore keeps what the operator said, in memory and in a file.
type operatorStore struct {
	path string

	mu      sync.Mutex
	current Operator // replaced, never changed
}

// openOperator keeps it in dir, beginning with what [ReadOperator] finds there.
func openOperator(dir string) (*operatorStore, error) {
	current, err := ReadOperator(dir)
	if err != nil {
		return nil, err
	}
	return &operatorStore{path: operatorPath(dir), current: current}, nil
}

// said returns all of it. The caller must not change it.
func (s *operatorStore) said() Operator {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// change changes it and writes the file. After an error nothing has changed.
func (s *operatorStore) change(change func(*Operator)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.current.clone()
	change(&next)
	if err := statefile.ReplaceJSON(s.path, next.file()); err != nil {
		return fmt.Errorf("nothing changed, for it cannot be kept over a restart: %w", err)
	}
	s.current = next
	return nil
}

// override changes the override of one backend; one that says nothing is removed.
func (s *operatorStore) override(key probe.Key, change func(*model.Override)) error {
	return s.change(func(next *Operator) {
		o, ok := next.Overrides[key]
		if !ok {
			o = model.Override{Service: key.Service, Backend: key.Backend}
		}
		change(&o)
		if next.Overrides[key] = o; o.Empty() {
			delete(next.Overrides, key)
		}
	})
}

func sortedOverrides(all map[probe.Key]model.Override) []model.Override {
	return slices.SortedFunc(maps.Values(all), func(a, b model.Override) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), a.Backend.Compare(b.Backend))
	})
}

func sortedZones(all map[model.DisabledZone]bool) []model.DisabledZone {
	return slices.SortedFunc(maps.Keys(all), func(a, b model.DisabledZone) int {
		return cmp.Or(strings.Compare(a.Zone, b.Zone), strings.Compare(a.Service, b.Service))
	})
}

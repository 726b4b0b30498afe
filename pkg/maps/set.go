package maps

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/bpf"
)

// The maps' names, in C and in the pin directory.
const (
	vips4Name          = "vips4"
	vips6Name          = "vips6"
	servicesName       = "services"
	tablesName         = "tables"
	subsetsName        = "subsets"
	rulesName          = "rules"
	serviceRatesName   = "service_rates"
	sourceRatesName    = "source_rates"
	serviceRefusedName = "service_refused"
	backendsName       = "backends"
	sourcesName        = "sources"
	tunnelsName        = "tunnels"
	vlansName          = "vlans"
	featuresName       = "features"
	flowsName          = "flows"
	portsName          = "ports"
	nextHopsName       = "next_hops"
	reasonsName        = "reasons"
	eventsName         = "events"
	serviceTrafficName = "service_traffic"
	backendTrafficName = "backend_traffic"
	affinitiesName     = "affinities"
	quicServersName    = "quic_servers"
	serviceOutcomeName = "service_outcome"
	backendOutcomeName = "backend_outcome"
	synsName           = "syns"
	serviceLoadsName   = "service_loads"
	backendLoadsName   = "backend_loads"
	settingsName       = "settings"
	decisionsName      = "decisions"
	upcallsName        = "upcalls"
	heartbeatName      = "heartbeat"
	serviceUpcallsName = "service_upcalls"
	sourceUpcallsName  = "source_upcalls"
)

// ErrIncompatible is returned by [Open] if pinned maps were made for other
// sizes or another layout.
var ErrIncompatible = errors.New("pinned maps do not fit")

// Set is all the maps of one load balancer, open. Its methods may be called
// from several goroutines.
type Set struct {
	maps   map[string]*ebpf.Map
	inner  *ebpf.MapSpec // of a table
	trie   *ebpf.MapSpec // of a service's rules
	layout bpf.Layout

	mu     sync.Mutex
	vips   vipMaps
	memory []byte   // the flow table, mapped on first use
	mapped [][]byte // other maps
	loads  loadMaps
}

// New creates empty maps of the given sizes. Needs CAP_BPF.
func New(sizes Sizes) (*Set, error) {
	spec, err := specification(sizes)
	if err != nil {
		return nil, err
	}
	s := &Set{maps: map[string]*ebpf.Map{}, inner: spec.Maps[tablesName].InnerMap, trie: spec.Maps[rulesName].InnerMap}
	for name, m := range spec.Maps {
		created, err := ebpf.NewMap(m)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("create map %s with %d entries: %w", name, m.MaxEntries, err)
		}
		s.maps[name] = created
	}
	var seed [8]byte
	rand.Read(seed[:])
	s.layout = bpf.Layout{
		Version:   bpf.LayoutVersion,
		TableSize: uint32(sizes.Table),
		Seed:      binary.NativeEndian.Uint64(seed[:]),
		FlowSets:  uint32(sizes.Flows / bpf.FlowWays),
		PortCells: uint32(sizes.Flows * cellsPerFlow),
		Frontends: uint32(sizes.Frontends),
	}
	if err := s.maps[settingsName].Put(uint32(0), s.layout); err != nil {
		s.Close()
		return nil, fmt.Errorf("write map %s: %w", settingsName, err)
	}
	if err := s.mapMemory(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Open opens the maps pinned in dir. The error is [ErrIncompatible] if they
// cannot be used by this version of xlb.
func Open(dir string) (*Set, error) {
	// Sizes are read from the maps, so any do for the specification.
	spec, err := specification(Sizes{1, 1, 1, 1, 1, bpf.PortCells, 1})
	if err != nil {
		return nil, err
	}
	s := &Set{maps: map[string]*ebpf.Map{}, inner: spec.Maps[tablesName].InnerMap, trie: spec.Maps[rulesName].InnerMap}
	for name, m := range spec.Maps {
		pinned, err := ebpf.LoadPinnedMap(filepath.Join(dir, name), nil)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("open pinned map %s: %w", name, err)
		}
		s.maps[name] = pinned
		if pinned.Type() != m.Type || pinned.KeySize() != m.KeySize || pinned.ValueSize() != m.ValueSize {
			s.Close()
			return nil, fmt.Errorf("map %s holds %d-byte values, not %d: %w", name, pinned.ValueSize(), m.ValueSize, ErrIncompatible)
		}
	}
	if err := s.maps[settingsName].Lookup(uint32(0), &s.layout); err != nil {
		s.Close()
		return nil, fmt.Errorf("read map %s: %w", settingsName, err)
	}
	if s.layout.Version != bpf.LayoutVersion ||
		s.layout.FlowSets != s.maps[flowsName].MaxEntries() ||
		s.Sizes().Services+s.Sizes().Subsets() != int(s.maps[tablesName].MaxEntries()) ||
		vipBucketCount(int(s.layout.Frontends)) != int(s.maps[vips4Name].MaxEntries()) ||
		s.maps[vips4Name].MaxEntries() != s.maps[vips6Name].MaxEntries() ||
		s.layout.PortCells != s.maps[portsName].MaxEntries()*bpf.PortCells {
		s.Close()
		return nil, fmt.Errorf("map %s says layout %d, this xlb has %d: %w", settingsName, s.layout.Version, bpf.LayoutVersion, ErrIncompatible)
	}
	s.inner.ValueSize = s.layout.TableSize * 8
	if err := s.mapMemory(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func specification(sizes Sizes) (*ebpf.CollectionSpec, error) {
	spec, err := bpf.LoadXdp()
	if err != nil {
		return nil, fmt.Errorf("read compiled data plane: %w", err)
	}
	for name := range spec.Maps {
		if name[0] == '.' { // constants belong to a program, not to the set
			delete(spec.Maps, name)
		}
	}
	return spec, sizes.apply(spec)
}

// Sizes returns the capacities.
func (s *Set) Sizes() Sizes { return sizesOf(s.layout, s.maps) }

// Pin pins every map in dir, which must be on a BPF file system and not hold
// them yet.
func (s *Set) Pin(dir string) error {
	for name, m := range s.maps {
		if err := m.Pin(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
	}
	return nil
}

// Close closes the descriptors. What is pinned or used by a program stays.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.memory != nil {
		errs = append(errs, unix.Munmap(s.memory))
		s.memory = nil
	}
	for _, memory := range s.mapped {
		errs = append(errs, unix.Munmap(memory))
	}
	s.mapped, s.vips, s.loads = nil, vipMaps{}, loadMaps{}
	for _, m := range s.maps {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// Bind makes a specification of the compiled data plane use these maps: it
// returns the replacements for [ebpf.CollectionOptions] and sets the constants
// that depend on the maps' sizes. Variables that the program does not use are
// skipped.
func (s *Set) Bind(spec *ebpf.CollectionSpec) (map[string]*ebpf.Map, error) {
	if err := s.Sizes().apply(spec); err != nil {
		return nil, err
	}
	for name, value := range map[string]any{
		"table_size":      s.layout.TableSize,
		"vip_bucket_mask": s.maps[vips4Name].MaxEntries() - 1,
		"flow_set_mask":   s.layout.FlowSets - 1,
		"port_cell_mask":  s.layout.PortCells - 1,
		"flow_seed":       s.layout.Seed,
	} {
		v := spec.Variables[name]
		if v == nil {
			return nil, fmt.Errorf("compiled object has no variable %q", name)
		}
		if err := v.Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	return clone(s.maps), nil
}

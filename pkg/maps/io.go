package maps

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/xlb-io/xlb/bpf"
)

// Read returns what the kernel holds now.
func (s *Set) Read() (Contents, error) {
	c := Contents{}.Clone()
	for _, read := range []func(*Contents) error{
		s.readVIPs, s.readServices, s.readBackends, s.readSources, s.readTables,
		s.readSubsets, s.readRules,
		s.readTunnels, s.readQUICServers, s.readFeatures,
	} {
		if err := read(&c); err != nil {
			return Contents{}, err
		}
	}
	return c, nil
}

// each calls f for every entry of a map. Small maps are read entry by entry:
// batches of a hash map can fail half-way for want of room in a bucket.
func each[K, V any](m *ebpf.Map, name string, f func(K, V)) error {
	var k K
	var v V
	it := m.Iterate()
	for it.Next(&k, &v) {
		f(k, v)
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("read map %s: %w", name, err)
	}
	return nil
}

// eachArray reads an array map in as few system calls as the kernel allows
// (batches, Linux 5.6).
func eachArray[V any](m *ebpf.Map, name string, f func(uint32, V)) error {
	const chunk = 4096
	n := int(m.MaxEntries())
	keys, values := make([]uint32, min(n, chunk)), make([]V, min(n, chunk))
	var cursor ebpf.MapBatchCursor
	for {
		got, err := m.BatchLookup(&cursor, keys, values, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("read map %s: %w", name, err)
		}
		for i := range got {
			f(keys[i], values[i])
		}
		if err != nil {
			return nil
		}
	}
}

func (s *Set) readServices(c *Contents) error {
	return eachArray(s.maps[servicesName], servicesName, func(id uint32, v bpf.Service) {
		if d, ok := decodeService(v); ok {
			c.Services[id] = d
		}
	})
}

func (s *Set) readBackends(c *Contents) error {
	return eachArray(s.maps[backendsName], backendsName, func(id uint32, v bpf.Backend) {
		if d, ok := decodeBackend(v); ok {
			c.Backends[id] = d
		}
	})
}

func (s *Set) readSources(c *Contents) error {
	return eachArray(s.maps[sourcesName], sourcesName, func(i uint32, v bpf.Source) {
		if a, ok := decodeSource(v); ok {
			c.Sources[i] = a
		}
	})
}

// Apply writes a difference. What others refer to is written before them and
// removed after them, so that no packet meets a number without its entry. If
// it fails, some of the changes are made: [Set.Read] tells which.
func (s *Set) Apply(c Changes) error {
	return firstError(
		func() error { return s.resetNew(c) },
		func() error { return forEach(c.Sources, true, s.putSource) },
		func() error { return forEach(c.Tunnels, true, s.putTunnel) },
		func() error { return forEach(c.Features, true, s.putFeatures) },
		func() error { return forEach(c.Backends, true, s.putBackend) },
		// Those that go first, so that there is room.
		func() error { return forEach(c.QUICServers, false, s.putQUICServer) },
		func() error { return forEach(c.QUICServers, true, s.putQUICServer) },
		// Tables first: where a service begins to trust unmarked slots, those
		// that it must not trust are marked by then.
		func() error { return s.putTables(c.Tables) },
		func() error { return forEach(c.Subsets, true, s.putSubset) },
		func() error { return s.putRules(c.Rules) },
		func() error { return forEach(c.Services, true, s.putService) },
		func() error { return forEach(c.VIPs, true, s.putVIP) },
		func() error { return forEach(c.VIPs, false, s.putVIP) },
		func() error { return forEach(c.Tables, false, s.removeTable) },
		func() error { return forEach(c.Services, false, s.putService) },
		func() error { return forEach(c.Rules, false, s.removeRules) },
		func() error { return forEach(c.Subsets, false, s.putSubset) },
		func() error { return forEach(c.Backends, false, s.putBackend) },
		func() error { return forEach(c.Features, false, s.putFeatures) },
		func() error { return forEach(c.Tunnels, false, s.putTunnel) },
		func() error { return forEach(c.Sources, false, s.putSource) },
	)
}

// resetNew clears the counters of numbers that get an owner.
func (s *Set) resetNew(c Changes) error {
	for _, b := range c.Backends {
		if b.Old == nil {
			if err := firstError(
				func() error { return s.checkPlace(backendsName, b.Key, "max_backends") },
				func() error { return s.resetTraffic(backendTrafficName, b.Key) },
				func() error { return s.resetLoad(b.Key, loadMaps.backend) },
				func() error { return s.resetOutcomes(backendOutcomeName, b.Key) },
			); err != nil {
				return err
			}
		}
	}
	for _, v := range c.Services {
		if v.Old == nil {
			if err := firstError(
				func() error { return s.checkPlace(servicesName, v.Key, "max_services") },
				func() error { return s.resetTraffic(serviceTrafficName, v.Key) },
				func() error { return s.resetLimits(v.Key) },
				func() error { return s.resetLoad(v.Key, loadMaps.service) },
				func() error { return s.resetOutcomes(serviceOutcomeName, v.Key) },
			); err != nil {
				return err
			}
		}
	}
	return nil
}

func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// forEach makes the changes that put something (or, if not, that delete).
func forEach[K comparable, V any](changes []Change[K, V], put bool, f func(K, *V) error) error {
	for _, c := range changes {
		if (c.New != nil) != put {
			continue
		}
		if err := f(c.Key, c.New); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) putService(id uint32, v *Service) error {
	var value bpf.Service
	if v != nil {
		var err error
		if value, err = encodeService(*v); err != nil {
			return fmt.Errorf("service %d: %w", id, err)
		}
	}
	return s.put(servicesName, id, value, "max_services")
}

func (s *Set) putBackend(id uint32, v *Backend) error {
	var value bpf.Backend
	if v != nil {
		value = encodeBackend(*v)
	}
	return s.put(backendsName, id, value, "max_backends")
}

func (s *Set) putSource(i uint32, v *netip.Addr) error {
	var value bpf.Source
	if v != nil {
		value = encodeSource(*v)
	}
	return s.put(sourcesName, i, value, "max_sources")
}

func (s *Set) put(name string, key uint32, value any, setting string) error {
	if err := s.checkPlace(name, key, setting); err != nil {
		return err
	}
	if err := s.maps[name].Put(key, value); err != nil {
		return fmt.Errorf("write map %s, entry %d: %w", name, key, err)
	}
	return nil
}

func (s *Set) checkPlace(name string, key uint32, setting string) error {
	if key >= s.maps[name].MaxEntries() {
		return fmt.Errorf("map %s has no place %d (raise %s)", name, key, setting)
	}
	return nil
}

package maps

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
)

func (s *Set) readTables(c *Contents) error {
	for id := range s.maps[tablesName].MaxEntries() {
		t, err := s.readTable(id)
		if err != nil {
			return err
		}
		if t != nil {
			c.Tables[id] = *t
		}
	}
	return nil
}

// readTable returns nil if the service has no table.
func (s *Set) readTable(id uint32) (*Table, error) {
	var inner *ebpf.Map
	err := s.maps[tablesName].Lookup(id, &inner)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read map %s, entry %d: %w", tablesName, id, err)
	}
	defer inner.Close()
	value := make([]uint32, 2*s.layout.TableSize)
	if err := inner.Lookup(uint32(0), value); err != nil {
		return nil, fmt.Errorf("read table of service %d: %w", id, err)
	}
	t := tableOf(value)
	return &t, nil
}

// After a swap the kernel waits until no CPU uses the table that was there: some
// milliseconds, for one table or for many. So tables are swapped this many at a
// time, which is also how many descriptors are open meanwhile.
const swappedAtOnce = 128

// putTables makes and swaps in the tables that changed.
func (s *Set) putTables(changes []Change[uint32, Table]) error {
	var value []uint32 // one for all, they are large
	for batch := range slices.Chunk(changes, swappedAtOnce) {
		if value == nil {
			value = make([]uint32, 2*s.layout.TableSize)
		}
		if err := s.swapTables(batch, value); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) swapTables(batch []Change[uint32, Table], value []uint32) (err error) {
	var ids []uint32
	var inner []*ebpf.Map
	defer func() {
		for _, m := range inner {
			err = errors.Join(err, m.Close())
		}
	}()
	for _, c := range batch {
		if c.New == nil {
			continue
		}
		m, err := s.makeTable(c.Key, *c.New, value)
		if err != nil {
			return err
		}
		ids, inner = append(ids, c.Key), append(inner, m)
	}
	return s.swapInner(tablesName, ids, inner)
}

// swapInner puts inner maps into a map of maps, each in place of the one there.
func (s *Set) swapInner(name string, ids []uint32, inner []*ebpf.Map) error {
	outer := s.maps[name]
	if len(ids) > 1 {
		fds := make([]uint32, len(inner))
		for i, m := range inner {
			fds[i] = uint32(m.FD())
		}
		// Older kernels do not know the call for such maps, or wait for each
		// of them all the same.
		if _, err := outer.BatchUpdate(ids, fds, nil); err == nil {
			return nil
		}
	}
	for i, id := range ids {
		if err := outer.Put(id, inner[i]); err != nil {
			return fmt.Errorf("write map %s, entry %d: %w", name, id, err)
		}
	}
	return nil
}

// makeTable returns an inner map that holds t; value is scratch space.
func (s *Set) makeTable(id uint32, t Table, value []uint32) (*ebpf.Map, error) {
	if err := t.check(int(s.layout.TableSize)); err != nil {
		return nil, fmt.Errorf("table of service %d: %w", id, err)
	}
	if err := s.checkPlace(tablesName, id, "max_services"); err != nil {
		return nil, err
	}
	// Linux 6.1 and older take only a copy of the template.
	m, err := ebpf.NewMap(s.inner.Copy())
	if err != nil {
		return nil, fmt.Errorf("create table of service %d: %w", id, err)
	}
	t.encode(value)
	if err := m.Put(uint32(0), value); err != nil {
		return nil, errors.Join(fmt.Errorf("fill table of service %d: %w", id, err), m.Close())
	}
	return m, nil
}

// removeTable deletes a table; the kernel has no call for many.
func (s *Set) removeTable(id uint32, _ *Table) error {
	if err := s.maps[tablesName].Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("remove table of service %d: %w", id, err)
	}
	return nil
}

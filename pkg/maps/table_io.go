package maps

import (
	"errors"
	"fmt"

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
	value := make([]uint32, 2*s.layout.TableSize) // one for all, they are large
	return s.inBatches(changes, true, func(batch []Change[uint32, Table]) (err error) {
		ids, fds := make([]uint32, 0, len(batch)), make([]uint32, 0, len(batch))
		inner := make([]*ebpf.Map, 0, len(batch))
		defer func() {
			for _, m := range inner {
				err = errors.Join(err, m.Close())
			}
		}()
		for _, c := range batch {
			m, err := s.makeTable(c.Key, *c.New, value)
			if err != nil {
				return err
			}
			inner = append(inner, m)
			ids, fds = append(ids, c.Key), append(fds, uint32(m.FD()))
		}
		outer := s.maps[tablesName]
		if len(batch) > 1 {
			// Linux 5.14 and later. Before 6.8 it waits for each all the same.
			if _, err := outer.BatchUpdate(ids, fds, nil); err == nil {
				return nil
			}
		}
		for i, id := range ids {
			if err := outer.Put(id, inner[i]); err != nil {
				return fmt.Errorf("swap table of service %d: %w", id, err)
			}
		}
		return nil
	})
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

func (s *Set) removeTables(changes []Change[uint32, Table]) error {
	return s.inBatches(changes, false, func(batch []Change[uint32, Table]) error {
		ids := make([]uint32, 0, len(batch))
		for _, c := range batch {
			ids = append(ids, c.Key)
		}
		outer := s.maps[tablesName]
		if len(ids) > 1 {
			if _, err := outer.BatchDelete(ids, nil); err == nil {
				return nil
			}
		}
		for _, id := range ids {
			if err := outer.Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return fmt.Errorf("remove table of service %d: %w", id, err)
			}
		}
		return nil
	})
}

// inBatches calls f for the changes that put something (or, if not, that delete).
func (s *Set) inBatches(changes []Change[uint32, Table], put bool, f func([]Change[uint32, Table]) error) error {
	batch := make([]Change[uint32, Table], 0, min(len(changes), swappedAtOnce))
	for _, c := range changes {
		if (c.New != nil) != put {
			continue
		}
		if batch = append(batch, c); len(batch) == swappedAtOnce {
			if err := f(batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if len(batch) == 0 {
		return nil
	}
	return f(batch)
}

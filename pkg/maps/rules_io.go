package maps

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/bpf"
)

func (s *Set) readRules(c *Contents) error {
	seen := map[ebpf.MapID]Rules{}
	for id := range s.maps[rulesName].MaxEntries() {
		var trie *ebpf.Map
		err := s.maps[rulesName].Lookup(id, &trie)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read map %s, entry %d: %w", rulesName, id, err)
		}
		rules, err := readTrieOnce(trie, seen)
		if err = errors.Join(err, trie.Close()); err != nil {
			return fmt.Errorf("read the rules of service %d: %w", id, err)
		}
		c.Rules[id] = rules
	}
	return nil
}

// readTrieOnce reads what several services share once.
func readTrieOnce(m *ebpf.Map, seen map[ebpf.MapID]Rules) (Rules, error) {
	info, err := m.Info()
	if err != nil {
		return nil, err
	}
	id, _ := info.ID()
	if r, ok := seen[id]; ok {
		return r, nil
	}
	r, err := readTrie(m)
	seen[id] = r
	return r, err
}

// Entries that one system call reads or writes.
const rulesAtOnce = 16384

// readTrie reads in batches where the kernel knows them for tries (Linux 5.13).
func readTrie(m *ebpf.Map) (Rules, error) {
	out := make(Rules, 0, 16)
	defer func() { SortRules(out) }()
	keys, values := make([]bpf.RuleKey, rulesAtOnce), make([]uint32, rulesAtOnce)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		if errors.Is(err, ebpf.ErrNotSupported) {
			out = out[:0]
			err := each(m, rulesName, func(k bpf.RuleKey, v uint32) { out = append(out, decodeRule(k, v)) })
			return out, err
		}
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil, err
		}
		for i := range n {
			out = append(out, decodeRule(keys[i], values[i]))
		}
		if err != nil {
			return out, nil
		}
	}
}

// putRules makes and swaps in the rules that changed. Services whose rules are the
// same memory share a trie.
func (s *Set) putRules(changes []Change[uint32, Rules]) (err error) {
	var ids []uint32
	var inner []*ebpf.Map
	made := map[*Rule]*ebpf.Map{}
	defer func() {
		for _, m := range made {
			err = errors.Join(err, m.Close())
		}
	}()
	for _, c := range changes {
		if c.New == nil {
			continue
		}
		first := &Rule{} // of no rules: nobody's
		if len(*c.New) > 0 {
			first = &(*c.New)[0]
		}
		m := made[first]
		if m == nil {
			if m, err = s.makeTrie(c.Key, *c.New); err != nil {
				return err
			}
			made[first] = m
		}
		ids, inner = append(ids, c.Key), append(inner, m)
	}
	return s.swapInner(rulesName, ids, inner)
}

// makeTrie returns an inner map that holds r. Nothing of it is allocated before it
// is filled, and nothing per CPU.
func (s *Set) makeTrie(id uint32, r Rules) (*ebpf.Map, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("rules of service %d: %w", id, err)
	}
	if err := s.checkPlace(rulesName, id, "max_services"); err != nil {
		return nil, err
	}
	spec := s.trie.Copy()
	spec.MaxEntries = uint32(max(len(r), 1))
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, fmt.Errorf("create the rules of service %d: %w", id, err)
	}
	if err := fillTrie(m, r); err != nil {
		return nil, errors.Join(fmt.Errorf("fill the rules of service %d, %d prefixes: %w", id, len(r), err), m.Close())
	}
	return m, nil
}

func fillTrie(m *ebpf.Map, r Rules) error {
	keys, values := make([]bpf.RuleKey, 0, min(len(r), rulesAtOnce)), make([]uint32, 0, min(len(r), rulesAtOnce))
	for len(r) > 0 {
		keys, values = keys[:0], values[:0]
		for _, one := range r[:min(len(r), rulesAtOnce)] {
			k, v := encodeRule(one)
			keys, values = append(keys, k), append(values, v)
		}
		n, err := m.BatchUpdate(keys, values, nil)
		if err != nil && !errors.Is(err, ebpf.ErrNotSupported) {
			return err
		}
		for ; n < len(keys); n++ { // older kernels
			if err := m.Put(keys[n], values[n]); err != nil {
				return err
			}
		}
		r = r[len(keys):]
	}
	return nil
}

// removeRules deletes the rules of a service.
func (s *Set) removeRules(id uint32, _ *Rules) error {
	if err := s.maps[rulesName].Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("remove the rules of service %d: %w", id, err)
	}
	return nil
}

func (s *Set) readSubsets(c *Contents) error {
	first := uint32(s.Sizes().Services)
	return eachArray(s.maps[subsetsName], subsetsName, func(i uint32, v bpf.Subset) {
		if v.Service != 0 {
			c.Subsets[first+i] = Subset{Service: v.Service, Tag: text(v.Tag[:]), Zone: text(v.Zone[:])}
		}
	})
}

// text is a name that zeros follow.
func text(b []byte) string {
	name, _, _ := bytes.Cut(b, []byte{0})
	return string(name)
}

// putSubset says whose a table is; nil: nobody's.
func (s *Set) putSubset(number uint32, v *Subset) error {
	var value bpf.Subset
	if v != nil {
		value.Service = v.Service
		if len(v.Tag) >= len(value.Tag) || len(v.Zone) >= len(value.Zone) {
			return fmt.Errorf("subset %d: a tag of %d bytes and a zone of %d (want at most 63)", number, len(v.Tag), len(v.Zone))
		}
		copy(value.Tag[:], v.Tag)
		copy(value.Zone[:], v.Zone)
	}
	first := uint32(s.Sizes().Services)
	if number < first {
		return fmt.Errorf("table %d is a service's own, no subset's", number)
	}
	return s.put(subsetsName, number-first, value, "max_services")
}

// Refused are the packets that a service did not take, by cause.
type Refused struct {
	// Denied and NotAllowed are those of sources on the deny list, and not on the
	// allow list.
	Denied     uint64 `json:"denied"`
	NotAllowed uint64 `json:"not_allowed"`
	// Rate, RatePerSource and Connections are first packets of flows beyond a
	// limit.
	Rate          uint64 `json:"rate"`
	RatePerSource uint64 `json:"rate_per_source"`
	Connections   uint64 `json:"max_connections"`
}

// Refused returns what a service refused, by its number.
func (s *Set) Refused(id uint32) (Refused, error) {
	var perCPU []bpf.Refused
	if err := s.maps[serviceRefusedName].Lookup(id, &perCPU); err != nil {
		return Refused{}, fmt.Errorf("read map %s, entry %d: %w", serviceRefusedName, id, err)
	}
	var sum Refused
	for _, c := range perCPU {
		for i, to := range []*uint64{&sum.Denied, &sum.NotAllowed, &sum.Rate, &sum.RatePerSource, &sum.Connections} {
			*to += c.Packets[i]
		}
	}
	return sum, nil
}

// resetLimits forgets what a service's number counted for its last owner.
func (s *Set) resetLimits(id uint32) error {
	var perCPU []bpf.Refused
	if err := s.maps[serviceRefusedName].Lookup(id, &perCPU); err != nil {
		return fmt.Errorf("read map %s, entry %d: %w", serviceRefusedName, id, err)
	}
	clear(perCPU)
	return firstError(
		func() error { return s.put(serviceRefusedName, id, perCPU, "max_services") },
		func() error { return s.put(serviceRatesName, id, uint64(0), "max_services") },
	)
}

// now64 is the clock of the token buckets: sixteenths of nanoseconds.
func now64() uint64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return math.MaxUint64 // no bucket is in use then
	}
	return uint64(t.Nano()) << 4
}

package maps

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/bpf"
)

// vipMaps are the maps of frontends, by family, in memory.
type vipMaps struct {
	v4, v6 *vipBuckets
}

// mapMemory maps into memory what is read and written there.
func (s *Set) mapMemory() error {
	return firstError(s.mapVIPs, s.mapLoads)
}

// mapVIPs maps the frontends into memory. They are written there, and not by
// system calls, which copy a bucket while packets read it in no order one could
// rely on.
func (s *Set) mapVIPs() error {
	var err error
	if s.vips.v4, err = s.mapBuckets(vips4Name, 1); err != nil {
		return err
	}
	s.vips.v6, err = s.mapBuckets(vips6Name, 3)
	return err
}

func (s *Set) mapBuckets(name string, keyWords int) (*vipBuckets, error) {
	memory, err := s.mapWritable(name)
	if err != nil {
		return nil, err
	}
	return newVIPBuckets(memory, keyWords, int(s.layout.Frontends)), nil
}

// mapWritable maps a map into memory, to read and to write, until [Set.Close].
func (s *Set) mapWritable(name string) ([]byte, error) {
	m := s.maps[name]
	memory, err := unix.Mmap(m.FD(), 0, int(m.MaxEntries())*int(m.ValueSize()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s into memory: %w", name, err)
	}
	s.mapped = append(s.mapped, memory)
	return memory, nil
}

var errClosed = errors.New("the maps are closed")

// of returns the buckets that a key belongs into, and the key in words.
func (v vipMaps) of(k VIPKey) (*vipBuckets, vipWords) {
	if k.Address.Is4() {
		key := encodeVIP4Key(k)
		return v.v4, vipWords{*(*uint64)(unsafe.Pointer(&key))}
	}
	key := encodeVIP6Key(k)
	return v.v6, *(*vipWords)(unsafe.Pointer(&key))
}

func (s *Set) readVIPs(c *Contents) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.vips.v4 == nil {
		return fmt.Errorf("read frontends: %w", errClosed)
	}
	for key, value := range s.vips.v4.all() {
		c.VIPs[decodeVIP4Key(*(*bpf.Vip4Key)(unsafe.Pointer(&key)))] = decodeVIP(*(*bpf.Vip)(unsafe.Pointer(&value)))
	}
	for key, value := range s.vips.v6.all() {
		c.VIPs[decodeVIP6Key(*(*bpf.Vip6Key)(unsafe.Pointer(&key)))] = decodeVIP(*(*bpf.Vip)(unsafe.Pointer(&value)))
	}
	return nil
}

func (s *Set) putVIP(k VIPKey, v *VIP) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.vips.v4 == nil {
		return fmt.Errorf("write frontend %v: %w", k, errClosed)
	}
	buckets, key := s.vips.of(k)
	if v == nil {
		buckets.remove(key)
		return nil
	}
	value := encodeVIP(*v)
	if buckets.put(key, *(*uint64)(unsafe.Pointer(&value))) {
		return nil
	}
	what := "frontend"
	if v.Service == 0 && v.DNATBackend {
		what = "dnat backend"
	}
	return fmt.Errorf("no room for %s %v: %w (raise max_frontends)", what, k, errFull)
}

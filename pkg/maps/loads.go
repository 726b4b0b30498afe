package maps

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/xlb-io/xlb/bpf"
)

// loadMaps are the loads of services and backends, by number, in memory. The data
// plane adds to them meanwhile: a field is changed by one atomic operation.
type loadMaps struct {
	services, backends []bpf.Load
}

func (l loadMaps) service() []bpf.Load { return l.services }
func (l loadMaps) backend() []bpf.Load { return l.backends }

// Load is how busy a backend or a service is.
type Load struct {
	// Connections are recorded flows that go on, where the service's schedule or
	// limit counts them; 0 elsewhere. TCP connections that both sides closed, or one
	// reset, are over; where answers pass the load balancer by, those that the
	// client closed.
	Connections int
	// Latency of a backend is the time from SYN to SYN-ACK, smoothed; 0 if it is
	// not known.
	Latency time.Duration
}

func (s *Set) mapLoads() error {
	for name, to := range map[string]*[]bpf.Load{serviceLoadsName: &s.loads.services, backendLoadsName: &s.loads.backends} {
		memory, err := s.mapWritable(name)
		if err != nil {
			return err
		}
		*to = unsafe.Slice((*bpf.Load)(unsafe.Pointer(&memory[0])), s.maps[name].MaxEntries())
	}
	return nil
}

// BackendLoad returns the load of a backend by its number, the zero value if
// there is none.
func (s *Set) BackendLoad(id uint32) Load { return s.load(id, loadMaps.backend) }

// ServiceLoad returns the load of a service by its number, the zero value if
// there is none.
func (s *Set) ServiceLoad(id uint32) Load { return s.load(id, loadMaps.service) }

func (s *Set) load(id uint32, of func(loadMaps) []bpf.Load) Load {
	s.mu.Lock()
	defer s.mu.Unlock()
	loads := of(s.loads)
	if int(id) >= len(loads) {
		return Load{}
	}
	l := &loads[id]
	return Load{
		Connections: int(max(0, atomic.LoadInt32(&l.Connections))),
		Latency:     time.Duration(atomic.LoadUint32(&l.Latency)),
	}
}

// SetLatency tells a backend's latency to the data plane, which keeps up to four
// seconds of it.
func (s *Set) SetLatency(id uint32, latency time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if int(id) < len(s.loads.backends) {
		atomic.StoreUint32(&s.loads.backends[id].Latency, uint32(min(max(latency, 0), math.MaxUint32)))
	}
}

// resetLoad forgets the load of a number that gets a new owner.
func (s *Set) resetLoad(id uint32, of func(loadMaps) []bpf.Load) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	loads := of(s.loads)
	if int(id) >= len(loads) {
		return fmt.Errorf("reset the load of number %d: %w", id, errClosed)
	}
	atomic.StoreInt32(&loads[id].Connections, 0)
	atomic.StoreUint32(&loads[id].Latency, 0)
	return nil
}

// CorrectLoads compares the counts of connections with the flow table and sets
// right what is wrong: flows that expired are counted until then. It returns how
// many counts were wrong. Without a service that needs the counts it does
// nothing.
//
// The data plane goes on counting meanwhile. So a count is wrong only if the flow
// table's is neither between what it was before and after, and then the difference
// is added to what it is.
func (s *Set) CorrectLoads() (wrong int, err error) {
	counted := map[uint32]bpf.Service{}
	err = eachArray(s.maps[servicesName], servicesName, func(id uint32, v bpf.Service) {
		if v.Forward != 0 && countsLoad(v) {
			counted[id] = v
		}
	})
	if err != nil || len(counted) == 0 {
		return 0, err
	}
	if _, err := s.flowMemory(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	loads := s.loads
	s.mu.Unlock()
	services, backends := newCounting(loads.services), newCounting(loads.backends)
	now := now()
	s.eachRecord(func(f bpf.Flow) bool {
		if service, ok := counted[f.Service]; ok && isOpen(f, service, now) {
			services.found(f.Service)
			backends.found(f.Backend)
		}
		return true
	})
	return services.correct() + backends.correct(), nil
}

// countsLoad is counts_load() of load.h.
func countsLoad(s bpf.Service) bool {
	return s.Options&bpf.OptionConnections != 0 ||
		s.Options&bpf.OptionSchedule != 0 && s.Schedule == bpf.ScheduleLeastConnections
}

// isOpen is state_open() of load.h, of a flow that may have expired.
func isOpen(f bpf.Flow, s bpf.Service, now uint32) bool {
	idle, timeout, state := age(f, s, now)
	if idle > timeout || state == "closed" {
		return false
	}
	return keyOf(forwards, s.Forward).RewritesPorts() || f.Meta>>32&uint64(bpf.XdpFlowStateFLOW_FIN_CLIENT) == 0
}

// counting is one pass over the flow table for the counts of some numbers.
type counting struct {
	loads         []bpf.Load
	before, table []int32
}

func newCounting(loads []bpf.Load) *counting {
	c := &counting{loads: loads, before: make([]int32, len(loads)), table: make([]int32, len(loads))}
	for i := range loads {
		c.before[i] = atomic.LoadInt32(&loads[i].Connections)
	}
	return c
}

func (c *counting) found(id uint32) {
	if int(id) < len(c.table) {
		c.table[id]++
	}
}

func (c *counting) correct() (wrong int) {
	for i := range c.loads {
		p := &c.loads[i].Connections
		if off := wrongBy(c.before[i], atomic.LoadInt32(p), c.table[i]); off != 0 {
			atomic.AddInt32(p, off)
			wrong++
		}
	}
	return wrong
}

// wrongBy is what to add to a count that was before and is after the flow table
// was counted.
func wrongBy(before, after, table int32) int32 {
	return table - min(max(table, min(before, after)), max(before, after))
}

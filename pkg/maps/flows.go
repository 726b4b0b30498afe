package maps

import (
	"fmt"
	"iter"
	"math"
	"net/netip"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/pkg/model"
)

var errFull = unix.E2BIG

// Flow is a live flow, decoded.
type Flow struct {
	Client, VIP netip.AddrPort
	Protocol    model.Protocol
	// Service and Backend are numbers; see [Contents].
	Service, Backend uint32
	// NAT is the source address and port towards the backend; zero unless
	// the service forwards by `nat` or, with the client's address, `dnat`.
	NAT netip.AddrPort
	// State is syn, established, fin or closed for TCP, active for UDP.
	State string
	// Idle is the time since the last packet (to the second), Expires the
	// time until the flow is forgotten if none comes.
	Idle, Expires time.Duration
}

// Flows goes through the live flows. It reads the kernel's memory directly: no
// system calls, no locks, no copy of the table. A flow that changes meanwhile
// may be missed; none is shown torn.
func (s *Set) Flows() iter.Seq[Flow] {
	return func(yield func(Flow) bool) {
		services := map[uint32]bpf.Service{}
		sources := map[uint16]bpf.Source{}
		now := now()
		s.eachRecord(func(f bpf.Flow) bool {
			service, ok := services[f.Service]
			if !ok {
				_ = s.maps[servicesName].Lookup(f.Service, &service)
				services[f.Service] = service
			}
			out, live := decodeFlow(f, service, now)
			if !live {
				return true
			}
			if f.NatPort != 0 {
				src, ok := sources[f.Source]
				if !ok {
					_ = s.maps[sourcesName].Lookup(uint32(f.Source), &src)
					sources[f.Source] = src
				}
				a, _ := decodeSource(src)
				if f.Source == bpf.SourceClient {
					a = out.Client.Addr()
				}
				out.NAT = netip.AddrPortFrom(a, swap16(f.NatPort))
			}
			return yield(out)
		})
	}
}

// FlowCounts returns the number of live flows of each backend.
func (s *Set) FlowCounts() map[uint32]int {
	services := map[uint32]bpf.Service{}
	counts := map[uint32]int{}
	now := now()
	s.eachRecord(func(f bpf.Flow) bool {
		service, ok := services[f.Service]
		if !ok {
			_ = s.maps[servicesName].Lookup(f.Service, &service)
			services[f.Service] = service
		}
		idle, timeout, _ := age(f, service, now)
		if idle <= timeout {
			counts[f.Backend]++
		}
		return true
	})
	return counts
}

// eachRecord calls f for a consistent copy of every record in use.
func (s *Set) eachRecord(f func(bpf.Flow) bool) {
	memory, err := s.flowMemory()
	if err != nil {
		return
	}
	const sequence, dead = 40, ^uint64(0) // see struct flow
	size := int(unsafe.Sizeof(bpf.Flow{}))
	for at := 0; at+size <= len(memory); at += size {
		p := (*bpf.Flow)(unsafe.Pointer(&memory[at]))
		if p.Tuple == 0 || p.Tuple == dead {
			continue
		}
		before := atomic.LoadUint64(&p.Meta)
		record := *p
		after := atomic.LoadUint64(&p.Meta)
		if before>>sequence&1 == 1 || before>>sequence != after>>sequence || record.Tuple == 0 || record.Tuple == dead {
			continue
		}
		record.Meta = after
		if !f(record) {
			return
		}
	}
}

func (s *Set) flowMemory() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.memory != nil {
		return s.memory, nil
	}
	m := s.maps[flowsName]
	memory, err := unix.Mmap(m.FD(), 0, int(m.MaxEntries())*int(m.ValueSize()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the flow table into memory: %w", err)
	}
	s.memory = memory
	return memory, nil
}

// now is the data plane's clock in ticks.
func now() uint32 { return uint32(coarse() / tick) }

// coarse is the data plane's clock: the coarse monotonic one.
func coarse() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &ts)
	return time.Duration(ts.Nano())
}

// age returns how long a flow has been idle, how long it may be, and what
// state it is in; it follows flow_timeout() in flow.h.
func age(f bpf.Flow, s bpf.Service, now uint32) (idle, timeout uint32, state string) {
	const (
		finBoth = bpf.XdpFlowStateFLOW_FIN_CLIENT | bpf.XdpFlowStateFLOW_FIN_BACKEND
		rst     = bpf.XdpFlowStateFLOW_RST_CLIENT | bpf.XdpFlowStateFLOW_RST_BACKEND
	)
	seen := bpf.FlowState(f.Meta >> 32 & 0xff)
	t := s.Timeouts
	const skew = 65536 // CLOCK_SKEW
	if idle = now - uint32(f.Meta); idle > math.MaxUint32-skew {
		idle = 0
	}
	switch {
	case model.Protocol(f.Tuple>>32) != model.TCP:
		return idle, t.Udp, "active"
	case seen&rst != 0 || seen&finBoth == finBoth:
		return idle, t.TcpClosed, "closed"
	case seen&finBoth != 0:
		return idle, t.TcpFin, "fin"
	case seen&bpf.XdpFlowStateFLOW_ESTABLISHED != 0:
		return idle, t.TcpEstablished, "established"
	default:
		return idle, t.TcpSyn, "syn"
	}
}

func decodeFlow(f bpf.Flow, s bpf.Service, now uint32) (Flow, bool) {
	idle, timeout, state := age(f, s, now)
	ipv6 := f.Tuple>>40&1 == 1
	return Flow{
		Client:   netip.AddrPortFrom(decodeAddr(f.Client, ipv6), swap16(uint16(f.Tuple))),
		VIP:      netip.AddrPortFrom(decodeAddr(f.Vip, ipv6), swap16(uint16(f.Tuple>>16))),
		Protocol: model.Protocol(f.Tuple >> 32),
		Service:  f.Service, Backend: f.Backend, State: state,
		Idle:    time.Duration(idle) * tick,
		Expires: (time.Duration(timeout) - time.Duration(idle)) * tick,
	}, idle <= timeout
}

package maps

import (
	"net/netip"
	"time"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/pkg/model"
)

// dumpDecisions shows those that still count.
func (s *Set) dumpDecisions() ([]DumpEntry, error) {
	var out []DumpEntry
	now := coarse()
	err := each(s.maps[decisionsName], decisionsName, func(k bpf.DecisionKey, d bpf.Decision) {
		left := decisionLife - (now - time.Duration(d.At))
		if left < 0 {
			return
		}
		ipv6 := k.Tuple>>40&1 == 1
		value := map[string]any{"service": d.Service, "expires_ms": left.Milliseconds(), "drop": d.Action == bpf.DecisionDrop}
		if d.Backend != 0 {
			value["backend"] = d.Backend
		}
		if d.Hashed != 0 {
			value["hash"] = d.Hash
		}
		out = append(out, DumpEntry{
			Key: map[string]any{
				"client":   netip.AddrPortFrom(decodeAddr(k.Client, ipv6), swap16(uint16(k.Tuple))),
				"vip":      netip.AddrPortFrom(decodeAddr(k.Vip, ipv6), swap16(uint16(k.Tuple>>16))),
				"protocol": model.Protocol(k.Tuple >> 32),
			},
			Value: value,
		})
	})
	return out, err
}

// dumpUpcalls takes nothing out of the ring buffer.
func (s *Set) dumpUpcalls() ([]DumpEntry, error) {
	r, err := s.Upcalls()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return []DumpEntry{{Key: "waiting_bytes", Value: r.Waiting()}}, nil
}

func (s *Set) dumpHeartbeat() ([]DumpEntry, error) {
	var out []DumpEntry
	now := coarse()
	err := eachArray(s.maps[heartbeatName], heartbeatName, func(i uint32, at uint64) {
		age := now - time.Duration(at)
		value := map[string]any{"away": at == 0 || age > heartbeatLife}
		if at != 0 {
			value["age_ms"] = age.Milliseconds()
		}
		out = append(out, DumpEntry{Key: i, Value: value})
	})
	return out, err
}

func (s *Set) dumpServiceUpcalls() ([]DumpEntry, error) { return s.dumpLimit(serviceUpcallsName) }
func (s *Set) dumpSourceUpcalls() ([]DumpEntry, error)  { return s.dumpLimit(sourceUpcallsName) }

// dumpLimit leaves out the cells of which nobody asked in the present window.
func (s *Set) dumpLimit(name string) ([]DumpEntry, error) {
	var out []DumpEntry
	present := uint32(uint64(coarse()) >> bpf.UpcallWindow)
	err := eachArray(s.maps[name], name, func(i uint32, v uint64) {
		if v != 0 && uint32(v>>32) == present {
			out = append(out, DumpEntry{Key: i, Value: map[string]any{"asked": uint32(v)}})
		}
	})
	return out, err
}

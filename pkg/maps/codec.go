package maps

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/pkg/model"
)

// An IPv4 address occupies the last four bytes; see struct addr.
func encodeAddr(a netip.Addr) (out bpf.Addr) {
	if a.Is4() {
		b := a.As4()
		copy(out.Byte[12:], b[:])
		return out
	}
	out.Byte = a.As16()
	return out
}

func decodeAddr(a bpf.Addr, ipv6 bool) netip.Addr {
	if ipv6 {
		return netip.AddrFrom16(a.Byte)
	}
	return netip.AddrFrom4([4]byte(a.Byte[12:]))
}

// Ports cross in network order.
func swap16(port uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, port))
}

func encodeVIP4Key(k VIPKey) bpf.Vip4Key {
	b := k.Address.As4()
	return bpf.Vip4Key{
		Address: binary.NativeEndian.Uint32(b[:]), Port: swap16(k.Port), Protocol: uint8(k.Protocol), Used: 1,
	}
}

func encodeVIP6Key(k VIPKey) bpf.Vip6Key {
	return bpf.Vip6Key{Address: encodeAddr(k.Address), Port: swap16(k.Port), Protocol: uint8(k.Protocol), Used: 1}
}

func decodeVIP4Key(k bpf.Vip4Key) VIPKey {
	a := netip.AddrFrom4([4]byte(binary.NativeEndian.AppendUint32(nil, k.Address)))
	return VIPKey{Address: a, Port: swap16(k.Port), Protocol: model.Protocol(k.Protocol)}
}

func decodeVIP6Key(k bpf.Vip6Key) VIPKey {
	return VIPKey{Address: decodeAddr(k.Address, true), Port: swap16(k.Port), Protocol: model.Protocol(k.Protocol)}
}

func encodeVIP(v VIP) bpf.Vip {
	out := bpf.Vip{Service: v.Service, Source: v.Source}
	if v.DNATBackend {
		out.Flags |= bpf.VIPDNATBackend
	}
	return out
}

func decodeVIP(v bpf.Vip) VIP {
	return VIP{Service: v.Service, Source: v.Source, DNATBackend: v.Flags&bpf.VIPDNATBackend != 0}
}

func ticks(d time.Duration) uint32 { return uint32((d + tick - 1) / tick) }

// Timeouts are whole seconds, so rounding undoes [ticks].
func seconds(ticks uint32) time.Duration {
	return (time.Duration(ticks) * tick).Round(time.Second)
}

func encodeService(s Service) (bpf.Service, error) {
	out := bpf.Service{
		FirstSource: s.FirstSource, Sources: s.Sources,
		Timeouts: bpf.Timeouts{
			TcpSyn:         ticks(s.Timeouts.TCPSyn),
			TcpEstablished: ticks(s.Timeouts.TCPEstablished),
			TcpFin:         ticks(s.Timeouts.TCPFin),
			TcpClosed:      ticks(s.Timeouts.TCPClosed),
			Udp:            ticks(s.Timeouts.UDP),
		},
	}
	var ok bool
	if out.Forward, ok = forwards[s.Forward]; !ok {
		return out, fmt.Errorf("the data plane has no forwarding mode %v", s.Forward)
	}
	if out.Track, ok = tracks[cmp.Or(s.Track, model.TrackAuto)]; !ok {
		return out, fmt.Errorf("the data plane has no tracking mode %v", s.Track)
	}
	if err := s.Selection.encode(&out); err != nil {
		return out, err
	}
	if err := encodeOutcomes(s, &out); err != nil {
		return out, err
	}
	if s.Ruled {
		out.Options |= bpf.OptionRules
	}
	if err := s.Limits.encode(&out); err != nil {
		return out, err
	}
	if s.Policy == 0 {
		return out, nil
	}
	if out.Policy, ok = overloads[s.Policy]; !ok {
		return out, fmt.Errorf("the data plane has no mode of overload %v", s.Policy)
	}
	out.Upcalls, out.UpcallsPerSource = perWindow(s.Upcalls), perWindow(s.UpcallsPerSource)
	return out, nil
}

// A window of a limit.
const window = time.Duration(1 << bpf.UpcallWindow)

// perWindow is the least count in a window that allows a rate per second.
func perWindow(rate uint32) uint16 {
	n := (uint64(rate)*uint64(window) + uint64(time.Second) - 1) / uint64(time.Second)
	return uint16(min(max(n, 1), math.MaxUint16))
}

// perSecond is the highest rate that [perWindow] turns into a count.
func perSecond(count uint16) uint32 {
	return uint32(uint64(count) * uint64(time.Second) / uint64(window))
}

// sameService says whether the data plane cannot tell two services apart.
func sameService(a, b Service) bool {
	x, errX := encodeService(a)
	y, errY := encodeService(b)
	return errX == nil && errY == nil && x == y
}

var (
	forwards = map[model.Forward]uint8{
		model.NAT: bpf.ForwardNAT, model.L2DSR: bpf.ForwardL2DSR, model.DNAT: bpf.ForwardDNAT,
		model.IPIP: bpf.ForwardIPIP, model.GUE: bpf.ForwardGUE,
	}
	tracks = map[model.Track]uint8{
		model.TrackAuto: bpf.TrackAuto, model.TrackAlways: bpf.TrackAlways, model.TrackNever: bpf.TrackNever,
	}
	overloads = map[model.OnOverload]uint8{
		model.OverloadContinue: bpf.OverloadContinue, model.OverloadDrop: bpf.OverloadDrop,
	}
)

// keyOf is the inverse of those above; the zero value if there is none.
func keyOf[K comparable](m map[K]uint8, v uint8) (key K) {
	for k, x := range m {
		if x == v {
			key = k
		}
	}
	return key
}

// decodeService returns false for a place that holds no service.
func decodeService(s bpf.Service) (Service, bool) {
	return Service{
		Forward: keyOf(forwards, s.Forward), Track: keyOf(tracks, s.Track), FirstSource: s.FirstSource, Sources: s.Sources,
		Timeouts: model.Timeouts{
			TCPSyn:         seconds(s.Timeouts.TcpSyn),
			TCPEstablished: seconds(s.Timeouts.TcpEstablished),
			TCPFin:         seconds(s.Timeouts.TcpFin),
			TCPClosed:      seconds(s.Timeouts.TcpClosed),
			UDP:            seconds(s.Timeouts.Udp),
		},
		Selection: decodeSelection(s),
		Outcomes:  s.Options&bpf.OptionOutcomes != 0, Retries: int(s.Retries),
		Policy: keyOf(overloads, s.Policy), Upcalls: perSecond(s.Upcalls), UpcallsPerSource: perSecond(s.UpcallsPerSource),
		Ruled: s.Options&bpf.OptionRules != 0, Limits: decodeLimits(s),
	}, s.Forward != 0
}

func encodeBackend(b Backend) bpf.Backend {
	out := bpf.Backend{
		Address: encodeAddr(b.Address.Addr()), Port: swap16(b.Address.Port()), Service: b.Service, Weight: uint32(b.Weight),
	}
	if b.Serves {
		out.Flags |= bpf.BackendServes
	}
	if b.Address.Addr().Is6() {
		out.Flags |= bpf.BackendIPv6
	}
	return out
}

// decodeBackend returns false for a place that holds no backend.
func decodeBackend(b bpf.Backend) (Backend, bool) {
	return Backend{
		Address: netip.AddrPortFrom(decodeAddr(b.Address, b.Flags&bpf.BackendIPv6 != 0), swap16(b.Port)),
		Service: b.Service, Serves: b.Flags&bpf.BackendServes != 0, Weight: uint16(b.Weight),
	}, b.Service != 0
}

func encodeSource(a netip.Addr) bpf.Source {
	out := bpf.Source{Address: encodeAddr(a)}
	if a.Is6() {
		out.Ipv6 = 1
	}
	return out
}

func decodeSource(s bpf.Source) (netip.Addr, bool) {
	a := decodeAddr(s.Address, s.Ipv6 != 0)
	return a, !a.IsUnspecified()
}

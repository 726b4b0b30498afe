package bpf_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xlb-io/xlb/bpf"
	xlb "github.com/xlb-io/xlb/pkg/maps"
)

// enumValues reads a C enum from the debug information. An enum without a name
// is found by the name of one of its values.
func enumValues(t *testing.T, types *btf.Spec, name, value string) map[string]uint64 {
	t.Helper()
	for typ, err := range types.All() {
		if err != nil {
			t.Fatal(err)
		}
		e, ok := typ.(*btf.Enum)
		if !ok || e.Name != name {
			continue
		}
		values := map[string]uint64{}
		for _, v := range e.Values {
			values[v.Name] = v.Value
		}
		if _, ok := values[value]; ok {
			return values
		}
	}
	t.Fatalf("the debug information has no enum %q with %s", name, value)
	return nil
}

func debugInformation(t *testing.T) *btf.Spec {
	t.Helper()
	spec, err := bpf.LoadXdp()
	if err != nil {
		t.Fatal(err)
	}
	return spec.Types
}

// Every reason and event of C has its name in Go, which is C's in small.
func TestNamesAgree(t *testing.T) {
	p := newPlane(t, settings(), sizes(), standard())
	types := debugInformation(t)
	reasons, err := p.set.Reasons()
	events, err2 := p.set.Events()
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		enum, prefix string
		list         []xlb.NamedCount
	}{{"reason", "REASON_", reasons}, {"event", "EVENT_", events}} {
		values := enumValues(t, types, c.enum, c.prefix+"MAX")
		if int(values[c.prefix+"MAX"]) != len(c.list) || len(values) != len(c.list)+1 {
			t.Errorf("C has %d values of enum %s, Go %d", len(values)-1, c.enum, len(c.list))
		}
		for name, v := range values {
			short := strings.ToLower(strings.TrimPrefix(name, c.prefix))
			if short != "max" && c.list[v].Name != short {
				t.Errorf("%s is called %q", name, c.list[v].Name)
			}
		}
	}
}

// The structures that cross between C and Go have one size and one place for
// each field.
func TestStructuresAgree(t *testing.T) {
	types := debugInformation(t)
	for name, v := range map[string]any{
		"addr": bpf.Addr{}, "vip4_key": bpf.Vip4Key{}, "vip6_key": bpf.Vip6Key{}, "vip": bpf.Vip{},
		"vip4_bucket": bpf.Vip4Bucket{}, "vip6_bucket": bpf.Vip6Bucket{},
		"timeouts": bpf.Timeouts{}, "service": bpf.Service{}, "backend": bpf.Backend{}, "source": bpf.Source{},
		"flow": bpf.Flow{}, "flow_set": bpf.FlowSet{}, "port_line": bpf.PortLine{}, "next_hop": bpf.NextHop{},
		"count": bpf.Count{}, "traffic": bpf.Traffic{}, "load": bpf.Load{}, "affinity_key": bpf.AffinityKey{}, "affinity": bpf.Affinity{}, "quic_key": bpf.QuicKey{}, "outcomes": bpf.Outcomes{}, "syn": bpf.Syn{}, "layout": bpf.Layout{},
		"tunnel": bpf.Tunnel{}, "vlan": bpf.Vlan{},
		"rule_key": bpf.RuleKey{}, "subset": bpf.Subset{}, "rate_key": bpf.RateKey{}, "refused": bpf.Refused{},
		"upcall": bpf.Upcall{}, "decision_key": bpf.DecisionKey{}, "decision": bpf.Decision{},
	} {
		var c *btf.Struct
		if err := types.TypeByName(name, &c); err != nil {
			t.Errorf("struct %s: %v", name, err)
			continue
		}
		g := reflect.TypeOf(v)
		if int(c.Size) != int(g.Size()) {
			t.Errorf("struct %s has %d bytes in C, %d in Go", name, c.Size, g.Size())
		}
		for _, m := range c.Members {
			f, ok := g.FieldByNameFunc(func(s string) bool {
				return strings.EqualFold(s, strings.ReplaceAll(m.Name, "_", ""))
			})
			if ok && f.Offset != uintptr(m.Offset.Bytes()) {
				t.Errorf("%s.%s is at %d in C, at %d in Go", name, m.Name, m.Offset.Bytes(), f.Offset)
			}
			if !ok && !strings.HasPrefix(m.Name, "pad") && m.Name != "" {
				t.Errorf("%s.%s is not in Go", name, m.Name)
			}
		}
	}
	if n := reflect.TypeFor[bpf.Service]().Size(); n != 64 {
		t.Errorf("a service has %d bytes, not a cache line", n)
	}
	if n := reflect.TypeFor[bpf.Outcomes]().Size(); n != 64 {
		t.Errorf("outcomes have %d bytes, not a cache line", n)
	}
	if n := reflect.TypeFor[bpf.Load]().Size(); n != 64 {
		t.Errorf("a load has %d bytes, not a cache line", n)
	}
	if n := reflect.TypeFor[bpf.Flow]().Size(); n != 64 {
		t.Errorf("a flow has %d bytes, not a cache line", n)
	}
}

// The numbers that Go repeats are C's. Enums that no variable has leave no
// debug information, so they are read from the header.
func TestConstantsAgree(t *testing.T) {
	header := headerConstants(t)
	for name, v := range map[string]int{
		"LAYOUT_VERSION": bpf.LayoutVersion, "FLOW_WAYS": bpf.FlowWays, "PORT_CELLS": bpf.PortCells,
		"FORWARD_NAT": bpf.ForwardNAT, "FORWARD_L2DSR": bpf.ForwardL2DSR, "FORWARD_DNAT": bpf.ForwardDNAT,
		"FORWARD_IPIP": bpf.ForwardIPIP, "FORWARD_GUE": bpf.ForwardGUE,
		"TRACK_AUTO": bpf.TrackAuto, "TRACK_ALWAYS": bpf.TrackAlways, "TRACK_NEVER": bpf.TrackNever,
		"OVERLOAD_CONTINUE": bpf.OverloadContinue, "OVERLOAD_DROP": bpf.OverloadDrop,
		"OPTION_RULES": bpf.OptionRules, "OPTION_RATE": bpf.OptionRate, "OPTION_RATE_SOURCE": bpf.OptionRateSource,
		"OPTION_CONNECTIONS": bpf.OptionConnections, "OPTION_SCHEDULE": bpf.OptionSchedule, "OPTION_HASH": bpf.OptionHash,
		"OPTION_AFFINITY": bpf.OptionAffinity, "OPTION_ONE_PACKET": bpf.OptionOnePacket, "OPTION_QUIC": bpf.OptionQUIC,
		"OPTION_OUTCOMES": bpf.OptionOutcomes, "OPTION_RETRY": bpf.OptionRetry, "RETRIES": bpf.MaxRetries,
		"SCHEDULE_TABLE": bpf.ScheduleTable, "SCHEDULE_RANDOM": bpf.ScheduleRandom, "SCHEDULE_ROUND_ROBIN": bpf.ScheduleRoundRobin,
		"SCHEDULE_LEAST_CONNECTIONS": bpf.ScheduleLeastConnections, "SCHEDULE_LEAST_LATENCY": bpf.ScheduleLeastLatency,
		"HASH_FIVE_TUPLE": bpf.HashFiveTuple, "HASH_SOURCE": bpf.HashSource,
		"HASH_SOURCE_DESTINATION": bpf.HashSourceDestination, "HASH_DESTINATION_PORT": bpf.HashDestinationPort,
		"RATE_BITS": bpf.RateBits, "RATE_SOURCES": bpf.RateSources,
		"DECISION_SEND": bpf.DecisionSend, "DECISION_DROP": bpf.DecisionDrop,
		"UPCALL_FRAME": bpf.UpcallFrame, "UPCALL_WINDOW": bpf.UpcallWindow,
		"DECISION_LIFE": bpf.DecisionLife, "HEARTBEAT_LIFE": bpf.HeartbeatLife,
		"INJECT_MARK": bpf.InjectMark, "INJECT_INTERFACE": bpf.InjectInterface,
		"VIP_DNAT_BACKEND": bpf.VIPDNATBackend, "FEATURE_DNAT": bpf.FeatureDNAT,
		"VIP_ELSEWHERE": bpf.VIPElsewhere, "VIP_CELLS": bpf.VIPCells,
		"SOURCE_CLIENT": bpf.SourceClient,
		"PROBE_MARK":    bpf.ProbeMark, "PROBE_BACKEND": bpf.ProbeBackend,
		"BACKEND_SERVES": bpf.BackendServes, "BACKEND_IPV6": bpf.BackendIPv6,
	} {
		if c, ok := header[name]; !ok || c != v {
			t.Errorf("%s is %d in C (present: %t), %d in Go", name, c, ok, v)
		}
	}
}

package policy

import (
	"net/netip"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// backends is a backend with a port, which tells the hostile policy what to do.
func backends(port uint16) []WeighInput {
	return []WeighInput{{Address: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port), State: StateUp, Weight: 1}}
}

// TestWeigh: records go to the module in the order of address, and answers come
// back in the order of the question.
func TestWeigh(t *testing.T) {
	p := load(t, newRuntime(t, Options{}), "guest", number(500))
	in := []WeighInput{
		{Address: netip.MustParseAddrPort("10.0.0.3:80"), Zone: "y", Tags: model.TagsOf("a", "b")},
		{Address: netip.MustParseAddrPort("10.0.0.1:80"), Zone: "x"},
		{Address: netip.MustParseAddrPort("[2001:db8::1]:80"), Zone: "xx"},
	}
	want := []WeighOutput{
		{Weight: 500, Tier: 2},
		{Weight: 500, Tier: Leave, Eject: true, Reason: 3},
		{Weight: 500, Tier: Leave},
	}
	out, err := p.Weigh(t.Context(), in)
	if err != nil || len(out) != len(want) {
		t.Fatalf("%v %v", out, err)
	}
	for i := range want {
		if out[i] != want[i] {
			t.Errorf("%v: %+v, want %+v", in[i].Address, out[i], want[i])
		}
	}
	if out, err := p.Weigh(t.Context(), nil); err != nil || len(out) != 0 {
		t.Errorf("no backends: %v %v", out, err)
	}
	many := make([]WeighInput, 5000)
	for i := range many {
		many[i] = WeighInput{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 80), Zone: "x"}
	}
	if out, err := p.Weigh(t.Context(), many); err != nil || len(out) != 5000 || !out[4999].Eject {
		t.Errorf("5,000 backends: %d %v", len(out), err)
	}
	if h := p.Stats().Hooks[HookWeigh]; h.Calls != 3 || h.Errors != 0 || h.P50 == 0 {
		t.Errorf("%+v", h)
	}
}

// TestRecord holds the layout of a record against what docs/policy-abi.md says.
func TestRecord(t *testing.T) {
	in := []WeighInput{{
		Address: netip.MustParseAddrPort("192.0.2.1:258"), State: StateDraining, Weight: 0x0304, Tier: 5, Zone: "zz", Tags: "t",
		Latency: 6, Flows: 7, FlowsTotal: 8, ErrorsTotal: 9,
	}}
	memory := make([]byte, recordSize+3)
	writeRecords(memory, 0x1000, in, []int{0})
	want := make([]byte, recordSize+3)
	copy(want[10:], "\xff\xff\xc0\x00\x02\x01\x02\x01\x03\x00\x04\x03\x00\x00\x05")
	for at, v := range map[int]uint64{28: 0x1060, 32: 2, 36: 0x1062, 40: 1, 48: 6, 56: 7, 64: 8, 72: 9} {
		for i := 0; v > 0; i, v = i+1, v>>8 {
			want[at+i] = byte(v)
		}
	}
	copy(want[80:], "\xff\xff\xff\xff\xff\xff\xff\xff")
	copy(want[96:], "zzt")
	if string(memory) != string(want) {
		t.Errorf("\n%x, want\n%x", memory, want)
	}
}

// TestHostileWeigh: of a wrong answer nothing is used, and the next one is asked for.
func TestHostileWeigh(t *testing.T) {
	p := hostile(t, newRuntime(t, Options{}), "")
	for port, want := range []string{
		1: "it did not end within 200ms",
		2: "trap: unreachable in weigh",
		3: "error 9",
		4: "backend 10.0.0.1:4: weight 65536, of -1 to 65535",
		5: "backend 10.0.0.1:5: tier -2, of -1 to 255",
		6: "backend 10.0.0.1:6: eject is 2, of 0 and 1",
		7: "backend 10.0.0.1:7: reason 65536, of 0 to 65535",
	} {
		if port == 0 {
			continue
		}
		out, err := p.Weigh(t.Context(), backends(uint16(port)))
		wants(t, err, `policy "test-hostile": weigh: `, want)
		if out != nil {
			t.Errorf("port %d: %+v", port, out)
		}
		if out, err := p.Weigh(t.Context(), backends(9)); err != nil || out[0] != (WeighOutput{Weight: Leave, Tier: Leave}) {
			t.Errorf("port %d, the next call: %+v %v", port, out, err)
		}
	}
	p = load(t, p.rt, "hostile", "", func(s *model.Policy) { s.Timeout = time.Minute })
	if out, err := p.Weigh(t.Context(), backends(8)); err != nil || len(out) != 1 {
		t.Errorf("a memory that grows: %v %v", out, err)
	}
}

// TestWeighEjected: a hook that fails is not asked for a while; others are.
func TestWeighEjected(t *testing.T) {
	p := hostile(t, newRuntime(t, Options{}), "")
	for range ejectAfter {
		if _, err := p.Weigh(t.Context(), backends(2)); err == nil {
			t.Fatal("no error")
		}
	}
	start := time.Now()
	_, err := p.Weigh(t.Context(), backends(9))
	wants(t, err, `policy "test-hostile": weigh: ejected after failures in a row`)
	if time.Since(start) > 50*time.Millisecond {
		t.Error("the module was asked")
	}
	if _, err := worker(t, p).Flow(from(999)); err != nil {
		t.Errorf("flow: %v", err)
	}
	h := p.Stats().Hooks[HookWeigh]
	if !h.Ejected || h.Ejections != 1 || h.Skipped != 1 || h.Errors != ejectAfter || time.Until(h.EjectedUntil) <= 0 {
		t.Errorf("%+v", h)
	}
}

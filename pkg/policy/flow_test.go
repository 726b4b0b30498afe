package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

func TestDecodeVerdict(t *testing.T) {
	tests := []struct {
		v    uint64
		want Verdict
		err  string
	}{
		{v: 0},
		{v: 0x70000, want: Verdict{Reason: 7}},
		{v: 0xffff0001, want: Verdict{Action: ActionDrop, Reason: 0xffff}},
		{v: 2, want: Verdict{Action: ActionReject}},
		{v: 3<<32 | 3, want: Verdict{Action: ActionBackend, Operand: 3}},
		{v: 1<<32 | 4, want: Verdict{Action: ActionSubset, Operand: 1}},
		{v: 0xffffffff_00000005, want: Verdict{Action: ActionHash, Operand: 0xffffffff}},
		{v: 6, err: "0x6 is no verdict"},
		{v: 0xff, err: "is no verdict"},
		{v: 0x100, err: "is no verdict"},
		{v: 1 << 32, err: "the verdict continue has the operand 1"},
		{v: 1<<32 | 2, err: "the verdict reject has the operand 1"},
		{v: 4<<32 | 3, err: "the verdict is backend 4 of 4"},
		{v: 0xffffffff_00000003, err: "the verdict is backend 4294967295 of 4"},
		{v: 2<<32 | 4, err: "the verdict is subset 2 of 2"},
	}
	for _, tt := range tests {
		got, err := decodeVerdict(tt.v, 4, 2)
		if tt.err != "" {
			wants(t, err, tt.err)
		} else if err != nil || got != tt.want {
			t.Errorf("%#x: %+v %v, want %+v", tt.v, got, err, tt.want)
		}
	}
	_, err := decodeVerdict(3, 0, 0)
	wants(t, err, "the verdict is backend 0, and there is none")
	_, err = decodeVerdict(4, 1, 0)
	wants(t, err, "the verdict is subset 0, and the manifest has none")
}

func TestActionNames(t *testing.T) {
	for a := range actions {
		text, _ := a.MarshalText()
		var back Action
		if err := back.UnmarshalText(text); err != nil || back != a {
			t.Errorf("%s: %v %v", text, back, err)
		}
	}
	if err := new(Action).UnmarshalText([]byte("accept")); err == nil || actions.String() != "invalid(6)" {
		t.Errorf("%v, %v", err, actions)
	}
}

// TestAddress: an address is one number of 128 bits.
func TestAddress(t *testing.T) {
	for a, want := range map[string][2]uint64{
		"192.0.2.1":        {0, 0xffff_c0000201},
		"::ffff:192.0.2.1": {0, 0xffff_c0000201},
		"2001:db8::1:2":    {0x20010db800000000, 0x10002},
	} {
		hi, lo := halves(netip.MustParseAddr(a))
		if hi != want[0] || lo != want[1] || address(hi, lo) != netip.MustParseAddr(a).Unmap() {
			t.Errorf("%s is %#x %#x and %s", a, hi, lo, address(hi, lo))
		}
	}
}

// TestFlow: what a module sees and says gets through.
func TestFlow(t *testing.T) {
	wall := time.Unix(1_700_000_000, 0)
	r := newRuntime(t, Options{Clock: func() time.Time { return wall }})
	p := load(t, r, "guest", number(int(Verdict{Action: ActionSubset, Operand: 1, Reason: 1}.encode())))
	w := worker(t, p)
	if v, err := w.Flow(from(9)); err != nil || v != (Verdict{Action: ActionSubset, Operand: 1, Reason: 1}) {
		t.Errorf("%+v %v", v, err)
	}
	if w.Fuel() < 1 || w.Fuel() > 10 {
		t.Errorf("it took %d of fuel", w.Fuel())
	}
	if v, err := w.Flow(from(3)); err != nil || v.Operand != 1_700_000_000 {
		t.Errorf("the wall clock is %d: %v", v.Operand, err)
	}
	a, _ := w.Flow(from(4))
	if b, err := w.Flow(from(4)); err != nil || a == b {
		t.Errorf("random numbers %v %v: %v", a, b, err)
	}
	if s := p.Stats(); s.Counters["calls"] != 4 || s.Hooks[HookFlow].Calls != 4 || s.Hooks[HookFlow].Max == 0 || s.FuelMost == 0 {
		t.Errorf("%+v", s)
	}
}

// encode is the inverse of decodeVerdict.
func (v Verdict) encode() uint64 {
	return uint64(v.Action) | uint64(v.Reason)<<16 | uint64(v.Operand)<<32
}

// TestStateStays: a module keeps what it knows between calls, and when it is
// configured anew.
func TestStateStays(t *testing.T) {
	p := load(t, newRuntime(t, Options{}), "guest", number(0))
	w := worker(t, p)
	for i := range 3 {
		if i == 2 {
			if err := p.Configure(t.Context(), []byte(number(5))); err != nil {
				t.Fatal(err)
			}
		}
		if v, err := w.Flow(from(2)); err != nil || int(v.Reason) != i+1 {
			t.Errorf("call %d counts as %d: %v", i+1, v.Reason, err)
		}
	}
}

// TestFuelAndMemory: the operator's limits win over the manifest's, which win over
// the defaults.
func TestFuelAndMemory(t *testing.T) {
	r := newRuntime(t, Options{})
	s := load(t, r, "hostile", "").Spec()
	if s.Fuel != defaultFuel || s.Memory != defaultMemory || s.Timeout != time.Second || s.OnError != model.ErrorContinue {
		t.Errorf("defaults: %+v", s)
	}
	if s = load(t, r, "guest", "").Spec(); s.Fuel != 50000 || s.Memory != 1<<20 {
		t.Errorf("the manifest's: %+v", s)
	}
	mine := func(s *model.Policy) { s.Fuel, s.Memory, s.Timeout = 2, 1<<17, time.Minute }
	p := load(t, r, "guest", "", mine)
	if s = p.Spec(); s.Fuel != 2 || s.Memory != 1<<17 || s.Timeout != time.Minute {
		t.Errorf("the operator's: %+v", s)
	}
	for _, wrong := range []func(*model.Policy){
		func(s *model.Policy) { s.Fuel = maxFuel + 1 },
		func(s *model.Policy) { s.Memory = 100 },
		func(s *model.Policy) { s.Memory = 2 << 30 },
		func(s *model.Policy) { s.Timeout = time.Hour },
		func(s *model.Policy) { s.Tables = map[string]string{"x": "y"} },
		func(s *model.Policy) { s.Subsets = map[string]model.Subset{"x": {}} },
		func(s *model.Policy) { s.SHA256 = fmt.Sprintf("%064d", 1) },
	} {
		_, err := tryLoad(t, r, "guest", "", wrong)
		if e, ok := errors.AsType[*Error](err); !ok || e.Policy != "test-guest" {
			t.Errorf("error %v", err)
		}
	}
}

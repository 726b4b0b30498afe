package control

import (
	"fmt"
	"math"
	"net/netip"
	"testing"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

// placed is a service of n backends: those with an even number are tagged, all have
// the weight of their number, and number 0 takes no new flows.
func placed(n int) *ServiceState {
	s := &ServiceState{Name: "web"}
	for i := range n {
		b := BackendState{
			Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80),
			ID:      uint32(100 + i), Effective: uint16(i), Zone: fmt.Sprint("zone", i%3),
		}
		if i%2 == 0 {
			b.Tags = model.TagsOf("even", "all")
		}
		s.Backends = append(s.Backends, b)
	}
	return s
}

func TestSiteDecision(t *testing.T) {
	s := siteOf(placed(5), nil, model.OverloadDrop)
	if len(s.backends) != 4 || s.overload != model.OverloadDrop || s.service != "web" {
		t.Fatalf("site %+v", s)
	}
	hash := uint32(7)
	for _, c := range []struct {
		say  policy.Decision
		want maps.Decision
	}{
		{policy.Decision{}, maps.Decision{}},
		{policy.Decision{Action: policy.ActionDrop}, maps.Decision{Drop: true}},
		{policy.Decision{Action: policy.ActionReject}, maps.Decision{Drop: true}},
		{policy.Decision{Action: policy.ActionBackend, Backend: 0}, maps.Decision{Backend: 101}},
		{policy.Decision{Action: policy.ActionBackend, Backend: 3}, maps.Decision{Backend: 104}},
		{policy.Decision{Action: policy.ActionBackend, Backend: 4}, maps.Decision{}}, // one went meanwhile
		{policy.Decision{Action: policy.ActionSubset, Subset: model.Subset{Tag: "even", Zone: "zone1"}}, maps.Decision{Backend: 104}},
		{policy.Decision{Action: policy.ActionSubset, Subset: model.Subset{Tag: "none"}}, maps.Decision{}},
	} {
		if got := s.decision(c.say, 42); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.say, got, c.want)
		}
	}
	got := s.decision(policy.Decision{Action: policy.ActionHash, Hash: hash}, 42)
	if got.Hash == nil || *got.Hash != hash || got.Drop || got.Backend != 0 {
		t.Errorf("hash: %+v", got)
	}
	for subset, want := range map[model.Subset]bool{{Tag: "even"}: false, {Zone: "zone0"}: false, {Tag: "even", Zone: "zone0"}: true, {Tag: "odd"}: true} {
		if s.empty(subset) != want {
			t.Errorf("empty(%+v) is %v", subset, !want)
		}
	}
}

// TestSiteChoose: shares follow the weights, and a backend that goes takes only its
// own flows with it.
func TestSiteChoose(t *testing.T) {
	const flows = 20000
	all := model.Subset{}
	before := siteOf(placed(6), nil, 0)
	less := placed(6)
	less.Backends[3].Effective = 0
	after := siteOf(less, nil, 0)
	share, moved := map[uint32]int{}, 0
	for i := range uint64(flows) {
		hash := mix(i)
		b := before.choose(all, hash)
		share[b]++
		if now := after.choose(all, hash); b != 103 && now != b {
			moved++
		} else if b == 103 && (now == 103 || now == 0) {
			t.Fatalf("flow %d stays with the backend that went", i)
		}
	}
	if moved != 0 {
		t.Errorf("%d flows of other backends moved", moved)
	}
	for i := 1; i < 6; i++ {
		want := flows * i / 15
		if got := share[uint32(100+i)]; math.Abs(float64(got-want)) > 5*math.Sqrt(float64(want)) {
			t.Errorf("backend %d has %d flows, want some %d", i, got, want)
		}
	}
}

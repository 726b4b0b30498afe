package policybench

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func kit(t *testing.T) *policy.Bundle {
	t.Helper()
	b, err := policy.Open("../policytest/testdata/kit")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	flows := Flows(64)
	for i := range flows {
		// Some ports make the policy fail.
		flows[i].Source = netip.AddrPortFrom(flows[i].Source.Addr(), 40000)
	}
	r, err := Run(t.Context(), kit(t), model.Policy{Name: "kit"}, flows)
	if err != nil {
		t.Fatal(err)
	}
	f := r.Flow
	if r.Policy != "kit" || r.Bytes < 500 || r.Load <= 0 || r.LoadCached <= 0 || r.Memory != 131072 || f.Instance <= 0 ||
		f.Flows != 64 || !f.Given || f.Fuel != 100000 || f.FuelMost < 2 || f.FuelMost > 10 {
		t.Errorf("%+v %+v", r, f)
	}
	for _, x := range []Figures{f.WithFuel, f.WithoutFuel} {
		if x.MinNS <= 1 || x.MedianNS < x.MinNS || x.MaxNS < x.MedianNS || x.MaxNS > 1e6 {
			t.Errorf("%+v", x)
		}
	}
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// A policy that fails is not measured: its error would be.
func TestRunFails(t *testing.T) {
	flows := Flows(1)
	flows[0].Source = netip.MustParseAddrPort("192.0.2.7:1")
	_, err := Run(t.Context(), kit(t), model.Policy{Name: "kit"}, flows)
	if err == nil || !strings.Contains(err.Error(), "the policy fails for the flow from 192.0.2.7:1 to 203.0.113.10:80") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, kit(t), model.Policy{Name: "kit"}, Flows(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestFlows(t *testing.T) {
	seen := map[netip.AddrPort]bool{}
	network := netip.MustParsePrefix("198.18.0.0/15")
	for _, f := range Flows(madeUp) {
		if !network.Contains(f.Source.Addr()) || f.Source.Port() < 1024 || f.TCPFlags != 2 || f.Backends != 16 {
			t.Fatalf("%+v", f)
		}
		seen[f.Source] = true
	}
	if len(seen) < madeUp-10 {
		t.Errorf("%d different clients of %d", len(seen), madeUp)
	}
}

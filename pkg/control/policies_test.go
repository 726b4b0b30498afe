package control

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

func policyRuntime(t *testing.T) *policy.Runtime {
	t.Helper()
	r, err := policy.NewRuntime(t.Context(), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// canary sends a share of the flows to the backends with a tag.
func canary(percent string) model.Policy {
	return model.Policy{
		Name: "canary", Path: "../../policies/canary", OnError: model.ErrorContinue, Config: json.RawMessage(`{"percent":` + percent + `}`),
		Subsets: map[string]model.Subset{"canary": {Tag: "canary"}},
	}
}

func filter(config string) model.Policy {
	return model.Policy{Name: "filter", Path: "../../policies/cidr-filter", OnError: model.ErrorContinue, Config: json.RawMessage(config)}
}

func decidedBy(names ...string) model.Service {
	s := service("web", "192.0.2.1:80", "10.0.0.1:80", "10.0.0.2:80")
	for _, n := range names {
		s.Policies = append(s.Policies, model.PolicyUse{Policy: n, Mode: model.PolicyEnforce})
	}
	return s
}

func configOf(s model.Service, policies ...model.Policy) *model.Config {
	return &model.Config{Policies: policies, Services: []model.Service{s}}
}

// TestLoadPolicies: what did not change stays, a configuration reaches what runs, and
// anything else is another policy.
func TestLoadPolicies(t *testing.T) {
	r, ctx := policyRuntime(t), t.Context()
	load := func(cfg *model.Config, before policySet, anew ...string) *policyChange {
		t.Helper()
		names := map[string]bool{}
		for _, n := range anew {
			names[n] = true
		}
		c, err := loadPolicies(ctx, r, cfg, before, names)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	service := decidedBy("canary", "filter")
	one := load(configOf(service, canary("5"), filter(`{}`)), nil)
	if leaving := one.commit(ctx, quiet()); len(leaving) != 0 || len(one.fresh) != 2 {
		t.Errorf("first set: %d leave, %d fresh", len(leaving), len(one.fresh))
	}

	two := load(configOf(service, canary("5"), filter(`{}`)), one.next)
	if len(two.fresh) != 0 || two.next["canary"].Policy != one.next["canary"].Policy {
		t.Error("the same configuration loads policies anew")
	}

	three := load(configOf(service, canary("7"), filter(`{}`)), one.next)
	leaving := three.commit(ctx, quiet())
	now := three.next["canary"]
	if now.Policy != one.next["canary"].Policy || string(now.Spec().Config) != `{"percent":7}` || string(now.asked.Config) != `{"percent":7}` {
		t.Errorf("another configuration: %s", now.Spec().Config)
	}
	if len(leaving) != 1 || leaving[0] == now.Policy {
		t.Errorf("%d policies leave, want the one of the trial", len(leaving))
	}

	other := canary("7")
	other.OnError = model.ErrorDrop
	four := load(configOf(decidedBy("canary"), other), three.next)
	leaving = four.commit(ctx, quiet())
	if four.next["canary"].Policy == now.Policy || len(leaving) != 2 {
		t.Errorf("another on_error: %d policies leave, want canary and filter", len(leaving))
	}
	five := load(configOf(decidedBy("canary"), other), four.next, "canary")
	if five.next["canary"].Policy == four.next["canary"].Policy {
		t.Error("a policy that is to be loaded anew is not")
	}
	if err := five.abandon(ctx); err != nil {
		t.Error(err)
	}
}

func TestLoadPoliciesErrors(t *testing.T) {
	r := policyRuntime(t)
	probing := decidedBy()
	probing.Probe = model.Probe{Type: model.ProbePolicy, Policy: "canary"}
	broken := filepath.Join(t.TempDir(), "broken.wasm")
	if err := os.WriteFile(broken, []byte("\x00asm\x01\x00\x00\x00rest"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cfg  *model.Config
		want []string
	}{
		"no file":      {configOf(decidedBy(), model.Policy{Name: "a", Path: "/nowhere"}), []string{`policy "a"`, "/nowhere"}},
		"no module":    {configOf(decidedBy(), model.Policy{Name: "a", Path: broken}), []string{`policy "a"`}},
		"config":       {configOf(decidedBy(), canary("1000")), []string{`policy "canary"`, "percent"}},
		"two mistakes": {configOf(decidedBy(), canary("1000"), filter(`{"refuse":"maybe"}`)), []string{`policy "canary"`, `policy "filter"`}},
		"no probe":     {configOf(probing, canary("1")), []string{`service "web"`, `policy "canary" cannot probe`}},
		"probe as policy": {configOf(decidedBy("line"), model.Policy{
			Name: "line", Path: "../policy/testdata/guest", Subsets: map[string]model.Subset{"x": {Tag: "x"}},
		}), []string{`policy "line"`}},
	} {
		_, err := loadPolicies(t.Context(), r, c.cfg, nil, nil)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q in it", name, err, w)
			}
		}
	}
}

// TestDeciding: only services with a policy that has a flow hook are asked about.
func TestDeciding(t *testing.T) {
	weighs := model.Policy{Name: "least", Path: "../../policies/least-latency"}
	cfg := configOf(decidedBy("least"), weighs, canary("1"))
	both := decidedBy("least", "canary")
	both.Name = "both"
	cfg.Services = append(cfg.Services, both, service("plain", "192.0.2.2:80"))
	got, err := Deciding(cfg)
	if err != nil || len(got) != 1 || !got["both"] {
		t.Errorf("deciding are %v, %v", got, err)
	}
	if _, err := Deciding(configOf(decidedBy(), model.Policy{Name: "a", Path: "/nowhere"})); err == nil {
		t.Error("a bundle that is not there is no error")
	}
}

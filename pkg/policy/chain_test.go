package policy

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/xlb-io/xlb/pkg/model"
)

func enforce(p *Policy) Link { return Link{p, model.PolicyEnforce} }
func shadow(p *Policy) Link  { return Link{p, model.PolicyShadow} }

func chainWorker(t testing.TB) *ChainWorker {
	w := NewChainWorker()
	t.Cleanup(func() { w.Close(context.Background()) })
	return w
}

// says loads a policy whose verdict is v.
func says(t testing.TB, r *Runtime, name string, v Verdict, change ...func(*model.Policy)) *Policy {
	named := func(s *model.Policy) { s.Name = name }
	return load(t, r, "guest", number(int(v.encode())), append([]func(*model.Policy){named}, change...)...)
}

func TestChain(t *testing.T) {
	r := newRuntime(t, Options{})
	subsets := func(s *model.Policy) { s.Subsets = map[string]model.Subset{"stable": {Zone: "b"}} }
	pass := says(t, r, "pass", Verdict{Reason: 1})
	drop := says(t, r, "drop", Verdict{Action: ActionDrop, Reason: 2})
	third := says(t, r, "third", Verdict{Action: ActionBackend, Operand: 2})
	hash := says(t, r, "hash", Verdict{Action: ActionHash, Operand: 7})
	canary := says(t, r, "canary", Verdict{Action: ActionSubset}, subsets)
	stable := says(t, r, "stable", Verdict{Action: ActionSubset, Operand: 1}, subsets)
	bad := load(t, r, "hostile", "", func(s *model.Policy) { s.OnError = model.ErrorDrop })
	w := chainWorker(t)
	tests := map[string]struct {
		links []Link
		port  uint16
		want  Decision
	}{
		"none":             {nil, 9, Decision{}},
		"continue":         {[]Link{enforce(pass)}, 9, Decision{}},
		"first":            {[]Link{enforce(pass), enforce(drop), enforce(third)}, 9, Decision{Action: ActionDrop, Policy: "drop", Reason: 2}},
		"shadow":           {[]Link{shadow(drop), enforce(third)}, 9, Decision{Action: ActionBackend, Backend: 2, Policy: "third"}},
		"hash":             {[]Link{enforce(hash)}, 9, Decision{Action: ActionHash, Hash: 7, Policy: "hash"}},
		"subset by tag":    {[]Link{enforce(canary)}, 9, Decision{Action: ActionSubset, Subset: model.Subset{Tag: "canary"}, Policy: "canary"}},
		"subset by zone":   {[]Link{enforce(stable)}, 9, Decision{Action: ActionSubset, Subset: model.Subset{Zone: "b"}, Policy: "stable"}},
		"empty subset":     {[]Link{enforce(canary), enforce(drop)}, 8, Decision{Action: ActionDrop, Policy: "drop", Reason: 2}},
		"failure":          {[]Link{enforce(bad), enforce(third)}, 17, Decision{Action: ActionDrop, Policy: "test-hostile", Failed: true}},
		"shadowed failure": {[]Link{shadow(bad), enforce(third)}, 17, Decision{Action: ActionBackend, Backend: 2, Policy: "third"}},
	}
	for name, tt := range tests {
		in := from(tt.port)
		in.Empty = func(s model.Subset) bool { return tt.port == 8 && s.Tag == "canary" }
		if got := w.Decide(NewChain(tt.links...), in); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
	if s := canary.Stats(); s.EmptySubsets != 1 {
		t.Errorf("%d empty subsets", s.EmptySubsets)
	}
	want := []VerdictStats{
		{Mode: model.PolicyEnforce, Action: ActionDrop, Reason: 2, Count: 2},
		{Mode: model.PolicyShadow, Action: ActionDrop, Reason: 2, Count: 1},
	}
	if s := drop.Stats(); len(s.Verdicts) != 2 || s.Verdicts[0] != want[0] || s.Verdicts[1] != want[1] {
		t.Errorf("%+v", s.Verdicts)
	}
	if s := pass.Stats(); len(s.Verdicts) != 1 || s.Verdicts[0].Text != "on the list" {
		t.Errorf("%+v", s.Verdicts)
	}
}

// TestReloadUnderLoad: while goroutines decide, the policy is replaced over and over;
// every decision is one of a policy, and nothing is left of the old ones.
func TestReloadUnderLoad(t *testing.T) {
	r := newRuntime(t, Options{})
	ctx := context.Background()
	spec := func(n int) model.Policy {
		v := Verdict{Action: ActionHash, Operand: uint32(n)}
		return model.Policy{Name: "p", Path: "testdata/guest", Config: []byte(number(int(v.encode()))), OnError: model.ErrorDrop}
	}
	p, err := r.Load(ctx, spec(0))
	if err != nil {
		t.Fatal(err)
	}
	chain := NewChain(enforce(p))
	var stop atomic.Bool
	var decisions atomic.Uint64
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			w := NewChainWorker()
			defer w.Close(ctx)
			last := uint32(0)
			for !stop.Load() {
				d := w.Decide(chain, from(9))
				if d.Action != ActionHash || d.Failed || d.Hash < last {
					t.Errorf("decision %+v after %d", d, last)
					return
				}
				last = d.Hash
				decisions.Add(1)
			}
		})
	}
	for i := 1; i <= 50; i++ {
		next, err := r.Load(ctx, spec(i))
		if err != nil {
			t.Fatal(err)
		}
		if err := next.Warm(ctx, 3); err != nil {
			t.Fatal(err)
		}
		next.Inherit(p)
		chain.Replace(enforce(next))
		p.Close(ctx)
		p = next
		seen := decisions.Load()
		eventually(t, "decisions go on", func() bool { return decisions.Load() > seen || t.Failed() })
	}
	stop.Store(true)
	group.Wait()
	s := p.Stats()
	if s.Hooks[HookFlow].Errors != 0 || s.Instances > 5 {
		t.Errorf("%+v", s)
	}
	if calls := s.Counters["calls"]; calls == 0 || calls > decisions.Load() {
		t.Errorf("%d calls counted for %d decisions", calls, decisions.Load())
	}
	p.Close(ctx)
	if n := len(p.live); n != 0 || p.fast != nil {
		t.Errorf("%d instances left", n)
	}
}

// TestReconfigureUnderLoad: workers take over configurations between two calls.
func TestReconfigureUnderLoad(t *testing.T) {
	p := says(t, newRuntime(t, Options{}), "p", Verdict{Action: ActionHash})
	var stop atomic.Bool
	var group sync.WaitGroup
	for range 3 {
		w := worker(t, p)
		group.Go(func() {
			last := uint32(0)
			for !stop.Load() {
				v, err := w.Flow(from(9))
				if err != nil || v.Operand < last {
					t.Errorf("%+v %v after %d", v, err, last)
					return
				}
				last = v.Operand
			}
		})
	}
	for i := range 200 {
		v := Verdict{Action: ActionHash, Operand: uint32(i)}
		if err := p.Configure(t.Context(), []byte(number(int(v.encode())))); err != nil {
			t.Fatal(err)
		}
		p.refresh()
	}
	stop.Store(true)
	group.Wait()
}

// TestConfigure: what is refused is told, and the old configuration stays.
func TestConfigure(t *testing.T) {
	p := says(t, newRuntime(t, Options{}), "p", Verdict{Action: ActionReject})
	w := worker(t, p)
	for config, want := range map[string]string{
		`{"number": 13}`: `policy "p": validate: thirteen is unlucky`,
		`{"number": 99}`: `policy "p": configure: the configuration is refused with error 7`,
		`{"nmber": 1}`:   `policy "p": configure: the configuration is not what the policy's schema wants: at '': additional properties 'nmber' not allowed`,
	} {
		err := p.Configure(t.Context(), []byte(config))
		wants(t, err, want)
		if v, err := w.Flow(from(9)); err != nil || v.Action != ActionReject {
			t.Errorf("after %s: %+v %v", config, v, err)
		}
	}
	if err := p.Configure(t.Context(), []byte(number(1))); err != nil {
		t.Fatal(err)
	}
	if v, err := w.Flow(from(9)); err != nil || v.Action != ActionDrop || p.Stats().ConfigError != "" {
		t.Errorf("%+v %v", v, err)
	}
	if !strings.Contains(string(p.Spec().Config), "1") {
		t.Errorf("%s", p.Spec().Config)
	}
}

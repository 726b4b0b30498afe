package control

import (
	"fmt"
	gomaps "maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// rules are often none. Files are of the world's, and may be any service's.
func (w *world) rules() (r model.Rules) {
	if w.in.Networks == nil {
		w.in.Networks = map[string]*model.Networks{}
		for _, path := range []string{"f0", "f1"} {
			w.in.Networks[path] = w.networks()
		}
	}
	origins := func() []model.Origin {
		out := []model.Origin{{File: fmt.Sprintf("f%d", w.IntN(2))}}
		for _, p := range w.networks().Prefixes {
			out = append(out, model.Origin{Prefix: p})
		}
		return out
	}
	subset := func() model.Subset {
		return []model.Subset{{Tag: "x"}, {Zone: "a"}, {Tag: "y", Zone: "b"}, {Zone: "nobody's"}}[w.IntN(4)]
	}
	if w.IntN(3) == 0 {
		r.Allow = origins()
	}
	if w.IntN(3) == 0 {
		r.Deny = origins()
	}
	for range w.IntN(3) {
		r.Steer = append(r.Steer, model.Steer{From: origins(), To: subset()})
	}
	if w.IntN(4) == 0 {
		r.Default = subset()
	}
	if w.IntN(4) == 0 {
		r.Rate, r.MaxConnections = model.Rate{PerSecond: 1 + w.IntN(9), Burst: 1}, w.IntN(3)
	}
	return r
}

func (w *world) networks() *model.Networks {
	n := &model.Networks{}
	for range w.IntN(4) {
		p, _ := netip.AddrFrom4([4]byte{10, byte(w.IntN(2)), byte(w.IntN(256)), 0}).Prefix(8 + w.IntN(17))
		n.Prefixes = append(n.Prefixes, p)
	}
	return n
}

// rewrite changes a file of a service's rules, and touches all that name it.
func (w *world) rewrite(services []model.Service, name string, touched map[string]bool) {
	i := slices.IndexFunc(services, func(s model.Service) bool { return s.Name == name })
	if i < 0 || len(services[i].Rules.Files()) == 0 {
		return
	}
	path := services[i].Rules.Files()[0]
	w.in.Networks = gomaps.Clone(w.in.Networks)
	w.in.Networks[path] = w.networks()
	for _, s := range services {
		if slices.Contains(s.Rules.Files(), path) {
			touched[s.Name] = true
		}
	}
}

// checkRules checks the subsets' tables and what leads there.
func checkRules(t *testing.T, in Input, s ServiceState, c maps.Contents) {
	t.Helper()
	for _, one := range s.Subsets {
		want := maps.Subset{Service: s.ID, Tag: one.Tag, Zone: one.Zone}
		if c.Subsets[one.Table] != want || int(one.Table) < in.Sizes.Services || int(one.Table) >= in.Sizes.Services+in.Sizes.Subsets() {
			t.Errorf("table %d is of %+v, want %+v", one.Table, c.Subsets[one.Table], want)
		}
		if old, ok := in.Present.Subsets[one.Table]; ok && old != want {
			t.Errorf("table %d went from %v to %v", one.Table, old, want)
		}
		table := c.Tables[one.Table].Present
		if one.FallsBack {
			if !slices.Equal(table, c.Tables[s.ID].Present) {
				t.Errorf("subset %v of %s falls back on another table than the service's", one.Subset, s.Name)
			}
			continue
		}
		in := map[uint32]bool{}
		for _, b := range s.Backends {
			in[b.ID] = b.Serves && takesFlows(b) && one.Holds(model.Backend{Zone: b.Zone, Tags: b.Tags})
		}
		for _, id := range table {
			if !in[id] {
				t.Errorf("subset %v of %s sends flows to backend number %d", one.Subset, s.Name, id)
				break
			}
		}
	}
	if entry := c.Services[s.ID]; entry.Ruled != (c.Rules[s.ID] != nil) || entry.Ruled != (s.Rules.Prefixes > 0) {
		t.Errorf("service %s asks its rules: %v, has %d", s.Name, entry.Ruled, len(c.Rules[s.ID]))
	}
	for _, r := range c.Rules[s.ID] {
		if r.Table != 0 && c.Subsets[r.Table].Service != s.ID {
			t.Errorf("rules of %s send %s to table %d, which is of %v", s.Name, r.Prefix, r.Table, c.Subsets[r.Table])
		}
	}
}

// eu is a service with backends in two zones, of which sources are steered to one.
func eu(backends ...model.Backend) model.Service {
	s := service("web", "203.0.113.1:80")
	s.Backends = backends
	s.Rules.Steer = []model.Steer{{From: []model.Origin{{Prefix: netip.MustParsePrefix("10.0.0.0/8")}}, To: model.Subset{Zone: "eu"}}}
	return s
}

// A subset's table has its own backends, by tiers among themselves; without a usable
// one it is the service's, and the plan says so.
func TestSubsetTables(t *testing.T) {
	in := input(maps.Contents{}, eu(
		model.Backend{Address: ap("10.0.0.1:80"), Weight: 1, Zone: "us"},
		model.Backend{Address: ap("10.0.0.2:80"), Weight: 1, Zone: "eu", Priority: 1},
		model.Backend{Address: ap("10.0.0.3:80"), Weight: 1, Zone: "eu", Priority: 2},
	))
	first := mustPlan(t, in)
	checkPlan(t, in, first)
	s := first.Services[0]
	if d := cmp.Diff([]string{"10.0.0.1 healthy 1 true", "10.0.0.2 healthy 0 true", "10.0.0.3 healthy 0 true"}, show(s)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	only := func(p *Plan, table uint32) string {
		ids := slices.Compact(slices.Sorted(slices.Values(p.Contents.Tables[table].Present)))
		var names []string
		for _, id := range ids {
			names = append(names, p.Contents.Backends[id].Address.Addr().String())
		}
		return strings.Join(names, " ")
	}
	one := s.Subsets[0]
	if got := only(first, one.Table); got != "10.0.0.2" || one.Backends != 2 || one.Usable != 2 || one.FallsBack {
		t.Errorf("the subset's table has %s, and is %+v", got, one)
	}
	in.Present = first.Contents
	in.Health[probe.Key{Service: "web", Backend: ap("10.0.0.2:80")}] = model.BackendHealth{State: model.Unhealthy}
	second := mustPlan(t, in)
	if got := only(second, one.Table); got != "10.0.0.3" || len(second.Warnings) != 0 {
		t.Errorf("the subset's table has %s, warnings %v", got, second.Warnings)
	}
	in.Present = second.Contents
	in.Health[probe.Key{Service: "web", Backend: ap("10.0.0.3:80")}] = model.BackendHealth{State: model.Unhealthy}
	third := mustPlan(t, in)
	checkPlan(t, in, third)
	if got := only(third, one.Table); got != "10.0.0.1" || !third.Services[0].Subsets[0].FallsBack ||
		!strings.Contains(strings.Join(third.Warnings, "\n"), `service "web" steers to a subset (zone eu), but no backend of it is usable: the whole service takes its flows`) {
		t.Errorf("the subset's table has %s, warnings %v", got, third.Warnings)
	}
}

// More subsets than there are tables for are refused, by the setting to raise.
func TestTooManySubsets(t *testing.T) {
	s := eu(model.Backend{Address: ap("10.0.0.1:80"), Weight: 1})
	for i := range testSizes.Subsets() + 1 {
		one := s.Rules.Steer[0]
		one.To.Zone = fmt.Sprint(i)
		s.Rules.Steer = append(s.Rules.Steer, one)
	}
	if _, err := NewPlanner().Plan(input(maps.Contents{}, s)); err == nil || !strings.Contains(err.Error(), "raise max_services") {
		t.Errorf("error %v", err)
	}
}

// What a plan changes of rules and tables of subsets is told.
func TestDescribeRules(t *testing.T) {
	in := input(maps.Contents{}, eu(model.Backend{Address: ap("10.0.0.1:80"), Weight: 1, Zone: "eu"}))
	in.Services[0].Rules.Deny = []model.Origin{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}
	in.Services[0].Rules.MaxConnections = 7
	p := mustPlan(t, in)
	var got []string
	for _, c := range Describe(maps.Diff(maps.Contents{}, p.Contents), p.Words()) {
		if c.Kind == "table" || c.Kind == "rules" {
			got = append(got, c.Action+" "+c.Kind+" "+c.Key+": "+c.New)
		}
		if c.Kind == "service" && !strings.Contains(c.New, "sources by rules, at most 7 open") {
			t.Errorf("the service is %q", c.New)
		}
	}
	want := []string{
		"add table web: 1 backend in 251 slots", "add table web (zone eu): 1 backend in 251 slots",
		"add rules web: 4 prefixes: 3 taken, 1 denied, some of them by one subset's table",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// A file of rules is read again when it changes; what is wrong with it is told, and
// leaves in force what it held.
func TestRulesFileWatch(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "blocked.txt")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(list+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(list+".new", list); err != nil {
			t.Fatal(err)
		}
	}
	write("192.0.2.0/24\n")
	data := newMemory()
	d := startIn(t, dir, data, "  web: {frontends: 'tcp://203.0.113.1:80', probe: none, backends: ['10.0.0.1:80'], deny: [blocked.txt, 198.51.100.0/24]}\n")
	holds := func(denied ...string) {
		t.Helper()
		eventually(t, func() string {
			var got []string
			data.set(func() {
				for _, r := range data.contents.Rules[1] {
					if r.Verdict == model.Denied {
						got = append(got, r.Prefix.String())
					}
				}
			})
			return unless(slices.Equal(got, denied), "denied are %v, want %v", got, denied)
		})
	}
	detail := func() api.ServiceDetail {
		t.Helper()
		s, err := d.Client.Service(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	holds("192.0.2.0/24", "198.51.100.0/24")
	applies := 0
	data.set(func() { applies = data.applies })
	write("192.0.2.0/24\n203.0.113.0/24\n")
	holds("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
	data.set(func() { applies = data.applies - applies })
	if applies != 1 {
		t.Errorf("%d writes for one change", applies)
	}
	if r := detail().Rules; r == nil || r.Deny != 3 || r.Prefixes != 5 || len(r.Files) != 1 || r.Files[0].Path != list || r.Files[0].Prefixes != 2 || r.Files[0].Error != "" {
		t.Errorf("rules are shown as %+v", r)
	}

	write("192.0.2.0/24\nnonsense\n")
	eventually(t, func() string {
		s := d.status(t)
		return unless(slices.Equal(s.Reasons, []string{"rules_stale:web"}) && s.Ready, "reasons %v, ready %v", s.Reasons, s.Ready)
	})
	holds("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
	if f := detail().Rules.Files[0]; !strings.Contains(f.Error, list+`:2: "nonsense" is no address`) || f.Prefixes != 2 {
		t.Errorf("the file is shown as %+v", f)
	}
	if err := d.Client.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "blocked.txt:2:") {
		t.Errorf("reload with a wrong file: %v", err)
	}
	holds("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")

	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		f := detail().Rules.Files[0]
		return unless(strings.Contains(f.Error, "no such file"), "the file is shown as %+v", f)
	})
	write("")
	holds("198.51.100.0/24")
	eventually(t, func() string {
		s := d.status(t)
		return unless(!slices.Contains(s.Reasons, "rules_stale:web"), "reasons %v", s.Reasons)
	})
	if f := detail().Rules.Files[0]; time.Since(f.Modified) > time.Minute || f.Error != "" {
		t.Errorf("the file is shown as %+v", f)
	}
}

package control

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

func statusOf(err error) int {
	if e, ok := err.(*api.Error); ok {
		return e.Status
	}
	return 0
}

func TestDrainAndWeightOutliveRestarts(t *testing.T) {
	data, dir, ctx := newMemory(), t.TempDir(), t.Context()
	one, two := ap("10.0.0.1:80"), ap("10.0.0.2:80")
	d := startIn(t, dir, data, web)
	if err := d.Client.Drain(ctx, "web", one); err != nil {
		t.Fatal(err)
	}
	if err := d.Client.SetWeight(ctx, "web", two, 7); err != nil {
		t.Fatal(err)
	}
	check := func(d *daemon) {
		t.Helper()
		list, err := d.Client.Backends(ctx, "web")
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, b := range list {
			got += fmt.Sprintf("%s %s %d %d %d %v\n", b.Address, b.State, b.Weight, b.EffectiveWeight, b.Slots, b.Override)
		}
		want := "10.0.0.1:80 draining 1 0 0 true\n10.0.0.2:80 healthy 7 7 251 true\n"
		if got != want {
			t.Errorf("backends\n%swant\n%s", got, want)
		}
	}
	check(d)
	d.stop()
	d = startIn(t, dir, data, web)
	check(d)

	// It goes away and comes back: still drained.
	for _, text := range []string{strings.Replace(web, "'10.0.0.1:80', ", "", 1), web} {
		known := text == web
		d.write(t, text)
		if err := d.Client.Reload(ctx); err != nil {
			t.Fatal(err)
		}
		list, err := d.Client.Overrides(ctx)
		if err != nil || len(list) != 2 || list[0].Known != known || list[0].Backend != one {
			t.Errorf("overrides %+v, %v; want the first one known: %v", list, err, known)
		}
	}
	check(d)
	if err := d.Client.Undrain(ctx, "web", one); err != nil {
		t.Fatal(err)
	}
	if err := d.Client.ResetWeight(ctx, "web", two); err != nil {
		t.Fatal(err)
	}
	list, err := d.Client.Overrides(ctx)
	if err != nil || len(list) != 0 {
		t.Errorf("overrides %+v, %v; want none", list, err)
	}
}

func TestUndrainBeatsConfiguration(t *testing.T) {
	d := start(t, newMemory(), strings.Replace(web, "'10.0.0.1:80'", "{address: '10.0.0.1:80', drain: true}", 1))
	if got := d.states(t, "web")["10.0.0.1:80"]; got != api.StateDraining {
		t.Fatalf("state %s", got)
	}
	if err := d.Client.Undrain(t.Context(), "web", ap("10.0.0.1:80")); err != nil {
		t.Fatal(err)
	}
	if got := d.states(t, "web")["10.0.0.1:80"]; got != api.StateHealthy {
		t.Errorf("state %s after undrain", got)
	}
}

func TestOverrideOfNothing(t *testing.T) {
	d := start(t, newMemory(), web)
	for name, err := range map[string]error{
		"service": d.Client.Drain(t.Context(), "wep", ap("10.0.0.1:80")),
		"backend": d.Client.Drain(t.Context(), "web", ap("10.0.0.9:80")),
	} {
		if statusOf(err) != http.StatusNotFound {
			t.Errorf("unknown %s: %v", name, err)
		}
	}
	if len(d.operator.said().Overrides) != 0 {
		t.Errorf("kept %v", d.operator.said().Overrides)
	}
}

func TestOverrideFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "overrides.json")
	s, err := openOperator(dir)
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	key := probe.Key{Service: "web", Backend: ap("[2001:db8::1]:80")}
	if err := s.override(key, func(o *model.Override) { o.Drain = &yes }); err != nil {
		t.Fatal(err)
	}
	again, err := openOperator(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s.said().Overrides, again.said().Overrides, append(compare, cmp.Comparer(func(a, b probe.Key) bool { return a == b }))...); d != "" {
		t.Errorf("read back (-written +read):\n%s", d)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".overrides*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	for name, text := range map[string]string{"cut off": `{"version": 1, "over`, "from the future": `{"version": 3}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openOperator(dir); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What cannot be kept is not done. (A file where the directory should be
	// stops root, too.)
	s.path = filepath.Join(path, "overrides.json")
	if err := s.override(key, func(o *model.Override) { o.Drain = nil }); err == nil || len(s.said().Overrides) != 1 {
		t.Errorf("without a place to write: %v, %v", err, s.said().Overrides)
	}
}

func TestPlanShowsAndChangesNothing(t *testing.T) {
	d := start(t, newMemory(), web)
	eventually(t, func() string {
		b := d.status(t).Services[0].Backends
		return unless(b[0].Since != nil && b[1].Since != nil, "the health of the backends is not in yet")
	})
	before, applies := d.status(t), d.data.applies
	p, err := d.Client.Plan(t.Context(), api.PlanRequest{Path: "new.yaml", Content: document(
		strings.Replace(web, "'10.0.0.2:80'", "'10.0.0.3:80'", 1) +
			"  six: {frontends: 'udp://[2001:db8:1::1]:53', probe: none, backends: ['[2001:db8:2::1]:53']}\n")})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	moved := 0
	for _, c := range p.Changes {
		got = append(got, fmt.Sprintf("%s %s %s/%s %q>%q", c.Action, c.Kind, c.Service, c.Key, c.Old, c.New))
		if c.Kind == "table" && c.Service == "web" {
			moved = c.Moved
		}
	}
	// The old backend of number 2 serves on, so nothing is written for it.
	want := []string{
		`add source /2001:db8::250 "">"2001:db8::250"`,
		`add frontend six/[2001:db8:1::1]:53/udp "">"service six"`,
		`add backend six/[2001:db8:2::1]:53 "">"healthy"`,
		`add backend web/10.0.0.3:80 "">"healthy"`,
		`change table web/web "2 backends in 251 slots">"2 backends in 251 slots"`,
		`add table six/six "">"1 backend in 251 slots"`,
	}
	var without []string
	for _, line := range got {
		if !strings.Contains(line, " service six/") {
			without = append(without, line)
		}
	}
	if d := cmp.Diff(want, without); d != "" {
		t.Errorf("changes (-want +got):\n%s", d)
	}
	if moved < 251/2-3 || moved > 251*3/4 {
		t.Errorf("%d of 251 slots move for one of two backends", moved)
	}
	if diff := cmp.Diff(before.Services, d.status(t).Services, compare...); diff != "" || applies != d.data.applies {
		t.Errorf("a plan changed the state:\n%s", diff)
	}

	p, err = d.Client.Plan(t.Context(), api.PlanRequest{})
	if err != nil || len(p.Changes) != 0 {
		t.Errorf("plan of the running file: %+v, %v", p, err)
	}
	p, err = d.Client.Plan(t.Context(), api.PlanRequest{Content: strings.Replace(document(web), "table_size: 251", "table_size: 509", 1)})
	if err != nil || strings.Join(p.Restart, " ") != "table_size" {
		t.Errorf("plan of another table_size: %+v, %v", p, err)
	}
	_, err = d.Client.Plan(t.Context(), api.PlanRequest{Path: "new.yaml", Content: "services: ["})
	if !api.IsConfigError(err) || !strings.Contains(err.Error(), "new.yaml:1:") {
		t.Errorf("plan of a wrong file: %v", err)
	}
}

func TestFlowsAreFiltered(t *testing.T) {
	data := newMemory()
	d := start(t, data, web+"  b: {frontends: 'tcp://203.0.113.2:80', probe: none, backends: ['10.0.0.2:80']}\n")
	numbers := map[string]uint32{}
	for _, s := range d.published.Load().plan.Services {
		for _, b := range s.Backends {
			numbers[s.Name+" "+b.Address.Addr().String()] = b.ID
		}
		numbers[s.Name] = s.ID
	}
	flow := func(service, backend, client string) maps.Flow {
		return maps.Flow{Service: numbers[service], Backend: numbers[service+" "+backend], Client: ap(client), Protocol: model.TCP, State: "established"}
	}
	data.set(func() {
		data.flows = []maps.Flow{
			flow("web", "10.0.0.1", "198.51.100.1:1"), flow("web", "10.0.0.2", "198.51.100.2:2"), flow("b", "10.0.0.2", "192.0.2.3:3"),
			{Service: 60, Backend: 900, Client: ap("192.0.2.4:4"), Protocol: model.UDP},
		}
	})
	for _, tt := range []struct {
		filter api.FlowFilter
		want   string
	}{
		{api.FlowFilter{}, "1 2 3 4"},
		{api.FlowFilter{Service: "web"}, "1 2"},
		{api.FlowFilter{Backend: "10.0.0.2"}, "2 3"},
		{api.FlowFilter{Backend: "10.0.0.2:80", Service: "b"}, "3"},
		{api.FlowFilter{Client: "198.51.100.0/24"}, "1 2"},
		{api.FlowFilter{Client: "192.0.2.3"}, "3"},
		{api.FlowFilter{Limit: 2}, "1 2"},
	} {
		var got []string
		for f, err := range d.Client.Flows(t.Context(), tt.filter) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(f.Client.Port()))
			if f.Client.Port() == 4 && (f.Service != "#60" || f.Protocol != "udp") {
				t.Errorf("flow of a service nobody knows: %+v", f)
			}
			if f.Client.Port() == 2 && (f.Service != "web" || f.Backend != ap("10.0.0.2:80")) {
				t.Errorf("flow %+v", f)
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%+v: flows %v, want %s", tt.filter, got, tt.want)
		}
	}
	for want, f := range map[int]api.FlowFilter{404: {Service: "nobody"}, 400: {Client: "x"}} {
		for _, err := range d.Client.Flows(t.Context(), f) {
			if statusOf(err) != want {
				t.Errorf("%+v: %v, want status %d", f, err, want)
			}
		}
	}
}

func TestStatsAndService(t *testing.T) {
	d := start(t, newMemory(), web)
	s, err := d.Client.Stats(t.Context(), api.StatsFilter{})
	if err != nil || len(s.Services) != 1 || len(s.Backends) != 2 || s.Reasons[0].Packets != 3 || s.Events[0].Name != "flow_created" || s.At.IsZero() {
		t.Errorf("stats %+v, %v", s, err)
	}
	s, err = d.Client.Stats(t.Context(), api.StatsFilter{Service: "web", NoBackends: true})
	if err != nil || len(s.Services) != 1 || len(s.Backends) != 0 {
		t.Errorf("stats without backends %+v, %v", s, err)
	}
	if _, err := d.Client.Stats(t.Context(), api.StatsFilter{Service: "nobody"}); statusOf(err) != 404 {
		t.Errorf("stats of nobody: %v", err)
	}
	one, err := d.Client.Service(t.Context(), "web")
	if err != nil || one.TableSize != 251 || one.Probe.Type != "none" || one.Timeouts["udp"] == 0 || one.Traffic.Request.Packets != uint64(one.ID) {
		t.Errorf("service %+v, %v", one, err)
	}
	if _, err := d.Client.Service(t.Context(), "nobody"); statusOf(err) != 404 {
		t.Errorf("nobody: %v", err)
	}
}

func TestRequestsEndWithTheDaemon(t *testing.T) {
	d := start(t, newMemory(), web)
	d.stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := d.controller.Reload(ctx); statusOf(err) != http.StatusServiceUnavailable {
		t.Errorf("reload after the end: %v", err)
	}
}

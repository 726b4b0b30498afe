package control

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// shares tells of the backends that are not retired whether they are in the table.
func (d *daemon) shares(t *testing.T, service string) string {
	t.Helper()
	list, err := d.Client.Backends(t.Context(), service)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, b := range list {
		if b.State != api.StateRetired {
			out = append(out, fmt.Sprintf("%s %s %d", b.Address.Addr(), b.State, b.EffectiveWeight))
		}
	}
	return strings.Join(out, ", ")
}

func (d *daemon) wants(t *testing.T, service, want string) {
	t.Helper()
	if got := d.shares(t, service); got != want {
		t.Errorf("%s has %s\nwant %s", service, got, want)
	}
}

func (d *daemon) reload(t *testing.T, services string) {
	t.Helper()
	d.write(t, services)
	if err := d.Client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func refusal(t *testing.T, err error, status int, text string) {
	t.Helper()
	if statusOf(err) != status || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("status %d, %v\nwant %d, %s", statusOf(err), err, status, text)
	}
}

func TestBackendsAreAdded(t *testing.T) {
	data, dir, ctx := newMemory(), t.TempDir(), t.Context()
	d := startIn(t, dir, data, web)
	three, weight := ap("10.0.0.3:80"), 5
	if err := d.Client.AddBackend(ctx, "web", three, api.BackendRequest{Weight: &weight, Zone: "z", Tags: []string{"b", "a"}, Priority: 0}); err != nil {
		t.Fatal(err)
	}
	const all = "10.0.0.1 healthy 1, 10.0.0.2 healthy 1, 10.0.0.3 healthy 5"
	d.wants(t, "web", all)
	if b := d.status(t).Services[0].Backends[2]; !b.Added || b.Zone != "z" || strings.Join(b.Tags, " ") != "a b" {
		t.Errorf("backend %+v", b)
	}
	for _, c := range []struct {
		service, backend string
		status           int
		text             string
	}{
		{"web", "10.0.0.1:80", 409, `service "web" has backend 10.0.0.1:80 already`},
		{"web", "10.0.0.3:80", 409, `service "web" has backend 10.0.0.3:80 already`},
		{"web", "[2001:db8::1]:80", 422, "another family"},
		{"web", "203.0.113.1:80", 422, "frontend of the same service"},
		{"wep", "10.0.0.4:80", 404, `no service "wep"`},
	} {
		refusal(t, d.Client.AddBackend(ctx, c.service, ap(c.backend), api.BackendRequest{}), c.status, c.text)
	}
	d.host.move(map[netip.Addr]string{addr("10.0.0.4"): "eth0"})
	refusal(t, d.Client.AddBackend(ctx, "web", ap("10.0.0.4:80"), api.BackendRequest{}), 422, "address of this host (eth0)")
	refusal(t, d.Client.RemoveBackend(ctx, "web", ap("10.0.0.1:80")), 409, "configuration file")
	refusal(t, d.Client.RemoveBackend(ctx, "web", ap("10.0.0.9:80")), 404, "no backend")

	// It stays: over reloads, a restart, and a steering of its own.
	if err := d.Client.Drain(ctx, "web", three); err != nil {
		t.Fatal(err)
	}
	d.reload(t, strings.Replace(web, "'10.0.0.2:80'", "'10.0.0.2:80', '10.0.0.5:80'", 1))
	d.stop()
	d = startIn(t, dir, data, web)
	d.wants(t, "web", "10.0.0.1 healthy 1, 10.0.0.2 healthy 1, 10.0.0.3 draining 0")
	if err := d.Client.Undrain(ctx, "web", three); err != nil {
		t.Fatal(err)
	}

	// What the file says of it counts, and it is no longer the operator's to remove.
	d.reload(t, strings.Replace(web, "'10.0.0.2:80'", "'10.0.0.2:80', {address: '10.0.0.3:80', weight: 2}", 1))
	d.wants(t, "web", "10.0.0.1 healthy 1, 10.0.0.2 healthy 1, 10.0.0.3 healthy 2")
	if list, err := d.Client.Overrides(ctx); err != nil || len(list) != 1 || *list[0].As.Weight != 5 || list[0].As.Zone != "z" || list[0].Problem != "the configuration or a source has it, too, and counts" {
		t.Errorf("overrides %+v, %v", list, err)
	}
	d.reload(t, web)
	d.wants(t, "web", all)

	// One that does not go with the service any more is left out, and told.
	d.reload(t, "  web: {frontends: 'tcp://[2001:db8::7]:80', probe: none, backends: ['[2001:db8::1]:80']}\n")
	d.wants(t, "web", "2001:db8::1 healthy 1")
	if w := strings.Join(d.status(t).Warnings, "\n"); !strings.Contains(w, `service "web": backend 10.0.0.3:80, which the operator added, is left out: it is of another family`) {
		t.Errorf("warnings %s", w)
	}
	refusal(t, d.Client.AddBackend(ctx, "web", three, api.BackendRequest{}), 422, "family")
	d.reload(t, web)
	d.wants(t, "web", all)
	if err := d.Client.RemoveBackend(ctx, "web", three); err != nil {
		t.Fatal(err)
	}
	d.wants(t, "web", "10.0.0.1 healthy 1, 10.0.0.2 healthy 1")
}

// TestAddedBackendHasServerID: one that leads somewhere.
func TestAddedBackendHasServerID(t *testing.T) {
	quic := "  quic: {frontends: 'udp://203.0.113.4:443', quic: {server_id_length: 2}, backends: ['10.0.0.1:443']}\n"
	data, dir := newMemory(), t.TempDir()
	d := startIn(t, dir, data, web+quic)
	add := func(service, backend, id string) error {
		return d.Client.AddBackend(t.Context(), service, ap(backend), api.BackendRequest{ServerID: id})
	}
	refusal(t, add("web", "10.0.0.9:80", "beef"), 422, `the server ID has no effect: service "web" has no quic`)
	refusal(t, add("quic", "10.0.0.9:443", "beef00"), 422, `server ID beef00 has 3 octets, but service "quic" has server_id_length 2`)
	refusal(t, add("quic", "10.0.0.9:443", "0001"), 422, `backend 10.0.0.1:443 has the server ID 0001 already (give another)`)
	refusal(t, add("quic", "10.9.0.1:443", ""), 422, `backend 10.0.0.1:443 has the server ID 0001 already (give another)`)
	if err := add("quic", "10.0.0.9:443", "BEEF"); err != nil {
		t.Fatal(err)
	}
	d.stop()
	d = startIn(t, dir, data, web+quic)
	c, err := data.Read()
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]string{}
	for q, id := range c.QUICServers {
		named[q.ID] = c.Backends[id].Address.String()
	}
	if len(named) != 2 || named["beef"] != "10.0.0.9:443" || named["0001"] != "10.0.0.1:443" {
		t.Errorf("named are %v", named)
	}
}

// TestAddedBackendMustFit: what does not fit into the maps is refused, and not kept.
func TestAddedBackendMustFit(t *testing.T) {
	data := newMemory()
	data.sizes.Backends = 3
	d := start(t, data, web)
	refusal(t, d.Client.AddBackend(t.Context(), "web", ap("10.0.0.3:80"), api.BackendRequest{}), 422, "raise max_backends")
	if said := d.operator.said(); len(said.Backends) != 0 {
		t.Errorf("kept %v", said.Backends)
	}
	if s := d.status(t); len(s.Reasons) != 0 {
		t.Errorf("reasons %v", s.Reasons)
	}
}

func TestServicesAreAdded(t *testing.T) {
	data, dir, ctx := newMemory(), t.TempDir(), t.Context()
	d := startIn(t, dir, data, web)
	mail := api.ServiceRequest{Path: "mail.yaml", Text: "frontends: tcp://203.0.113.9:25\nbackends: [10.0.0.9, 10.0.0.8]\nprobe: none\n"}
	if err := d.Client.AddService(ctx, "mail", mail); err != nil {
		t.Fatal(err)
	}
	d.wants(t, "mail", "10.0.0.8 healthy 1, 10.0.0.9 healthy 1")
	if s := d.status(t).Services[0]; !s.Added || s.Name != "mail" {
		t.Errorf("service %+v", s)
	}
	for _, c := range []struct {
		name, text string
		status     int
		want       string
	}{
		{"web", mail.Text, 409, `there is a service "web" already`},
		{"mail", mail.Text, 409, `there is a service "mail" already`},
		{"x", mail.Text, 422, "mail.yaml:1:12: duplicate frontend tcp://203.0.113.9:25"},
		{"a", mail.Text, 422, "mail.yaml:1:12: duplicate frontend tcp://203.0.113.9:25"},
		{"x", "frontends: tcp://203.0.113.8:25\nbackend: []\n", 422, `mail.yaml:2:1: unknown key "backend" in service`},
		{"x y", mail.Text, 422, "not a valid service name"},
	} {
		refusal(t, d.Client.AddService(ctx, c.name, api.ServiceRequest{Path: "mail.yaml", Text: c.text}), c.status, c.want)
	}
	refusal(t, d.Client.RemoveService(ctx, "web"), 409, "configuration file")
	refusal(t, d.Client.RemoveService(ctx, "x"), 404, "no service")
	if err := d.Client.Drain(ctx, "mail", ap("10.0.0.8:25")); err != nil {
		t.Fatal(err)
	}

	// A file that is wrong on the disk is no reason to refuse.
	d.write(t, "  web: [\n")
	if err := d.Client.AddService(ctx, "dns", api.ServiceRequest{Text: "{frontends: 'udp://203.0.113.9:53', backends: 10.0.0.9}"}); err != nil {
		t.Fatal(err)
	}
	d.stop()
	d = startIn(t, dir, data, web)
	d.wants(t, "mail", "10.0.0.8 draining 0, 10.0.0.9 healthy 1")
	d.wants(t, "dns", "10.0.0.9 healthy 1")

	// The file has the last word, by name and by frontend, and a plan says so before.
	last := web + "  mail: {frontends: 'tcp://203.0.113.20:25', probe: none, backends: ['10.0.0.7:25']}\n  other: {frontends: 'udp://203.0.113.9:53', backends: []}\n"
	if p, err := d.Client.Plan(ctx, api.PlanRequest{Content: document(last)}); err != nil || !strings.Contains(strings.Join(p.Warnings, "\n"), `service "dns", which the operator added, is left out`) {
		t.Errorf("the plan warns of %q, %v", p.Warnings, err)
	}
	d.reload(t, last)
	d.wants(t, "mail", "10.0.0.7 healthy 1")
	warnings := strings.Join(d.status(t).Warnings, "\n")
	for _, want := range []string{
		`service "mail", which the operator added, is left out: added service mail:1:1: there is a service "mail" already`,
		`service "dns", which the operator added, is left out: added service dns:1:13: duplicate frontend udp://203.0.113.9:53`,
	} {
		if !strings.Contains(warnings, want) {
			t.Errorf("warnings lack %s:\n%s", want, warnings)
		}
	}
	d.stop()
	d = startIn(t, dir, data, web)
	d.wants(t, "mail", "10.0.0.8 draining 0, 10.0.0.9 healthy 1")
	if p, err := d.Client.Plan(ctx, api.PlanRequest{Content: document(web)}); err != nil || len(p.Changes) != 0 {
		t.Errorf("a plan forgets what was added: %+v, %v", p.Changes, err)
	}
	if err := d.Client.RemoveService(ctx, "mail"); err != nil {
		t.Fatal(err)
	}
	if list, err := d.Client.Overrides(ctx); err != nil || len(list) != 1 || list[0].Service != "dns" {
		t.Errorf("overrides %+v, %v", list, err)
	}
	if got, _ := data.Read(); len(got.VIPs) != 2+len(got.Sources) {
		t.Errorf("the frontends are %v", got.VIPs)
	}
}

// TestDisplaces: a policy that cannot be loaded any more is no reason to give up the
// services that were added with it.
func TestDisplaces(t *testing.T) {
	before := &model.Config{LeftOut: map[string]string{"old": "wrong"}}
	after := &model.Config{LeftOut: map[string]string{"old": "wrong", "other": "its policy is broken"}}
	if err := (step{service: "new"}).displaces(before, before); err != nil {
		t.Errorf("one that was left out before: %v", err)
	}
	refusal(t, (step{service: "new"}).displaces(before, after), 422, `service "other", which was added before, would be left out: its policy is broken`)
	if err := (step{}).displaces(before, after); err != nil {
		t.Errorf("what is taken back: %v", err)
	}
}

func TestZonesAreDisabled(t *testing.T) {
	zoned := "  %s: {frontends: 'tcp://203.0.113.%d:80', probe: none, backends: [{address: '10.0.0.1:80', zone: a}, {address: '10.0.0.2:80', zone: b}]}\n"
	text := fmt.Sprintf(zoned, "web", 1) + fmt.Sprintf(zoned, "www", 2)
	data, dir, ctx := newMemory(), t.TempDir(), t.Context()
	d := startIn(t, dir, data, text)
	if err := d.Client.DisableZone(ctx, "a", "web"); err != nil {
		t.Fatal(err)
	}
	d.wants(t, "web", "10.0.0.1 draining 0, 10.0.0.2 healthy 1")
	d.wants(t, "www", "10.0.0.1 healthy 1, 10.0.0.2 healthy 1")
	refusal(t, d.Client.DisableZone(ctx, "c", ""), 404, `no backend is in zone "c"`)
	refusal(t, d.Client.DisableZone(ctx, "a", "wep"), 404, `no service "wep"`)
	if err := d.Client.DisableZone(ctx, "a", ""); err != nil {
		t.Fatal(err)
	}
	d.stop()
	d = startIn(t, dir, data, text)
	d.wants(t, "www", "10.0.0.1 draining 0, 10.0.0.2 healthy 1")
	refusal(t, d.Client.EnableZone(ctx, "a", "www"), 409, "disabled for all services")
	zones, err := d.Client.Zones(ctx, "")
	got := ""
	for _, z := range zones {
		got += fmt.Sprintf("%s %s %d/%d %.1f %v, ", z.Zone, z.Service, z.Usable, z.Backends, z.Share, z.Disabled)
	}
	if want := "a web 0/1 0.0 true, a www 0/1 0.0 true, b web 1/1 1.0 false, b www 1/1 1.0 false, "; got != want || err != nil {
		t.Errorf("zones %s, %v\nwant %s", got, err, want)
	}
	if err := d.Client.EnableZone(ctx, "a", ""); err != nil {
		t.Fatal(err)
	}
	d.wants(t, "web", "10.0.0.1 healthy 1, 10.0.0.2 healthy 1")
}

func TestDisableOutlivesRestarts(t *testing.T) {
	data, dir, ctx := newMemory(), t.TempDir(), t.Context()
	d := startIn(t, dir, data, web)
	if err := d.Client.Disable(ctx, "web", ap("10.0.0.1:80")); err != nil {
		t.Fatal(err)
	}
	d.stop()
	d = startIn(t, dir, data, web)
	d.wants(t, "web", "10.0.0.1 disabled 0, 10.0.0.2 healthy 1")
	if err := d.Client.Enable(ctx, "web", ap("10.0.0.1:80")); err != nil {
		t.Fatal(err)
	}
	d.wants(t, "web", "10.0.0.1 healthy 1, 10.0.0.2 healthy 1")
	if list := d.operator.said().Overrides; len(list) != 0 {
		t.Errorf("kept %v", list)
	}
}

// serves says whether a backend serves by the maps.
func (m *memory) serves(backend netip.AddrPort) bool {
	c, _ := m.Read()
	for _, b := range c.Backends {
		if b.Address == backend {
			return b.Serves
		}
	}
	return false
}

// TestDrainEndsByItself: nothing but time has to happen, also for a daemon that was
// started in between.
func TestDrainEndsByItself(t *testing.T) {
	data, dir, ctx := newMemory(), t.TempDir(), t.Context()
	one, two := ap("10.0.0.1:80"), ap("10.0.0.2:80")
	slow := func(p *parts) { p.timing.sweep = time.Hour }
	d := startIn(t, dir, data, web, slow)
	if err := d.Client.DrainFor(ctx, "web", one, 300*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if until := d.status(t).Services[0].Backends[0].DrainsUntil; until == nil || time.Until(*until) > 2*time.Second {
		t.Errorf("drains until %v", until)
	}
	eventually(t, func() string { return unless(!data.serves(one), "the drain goes on") })
	if err := d.Client.Undrain(ctx, "web", one); err != nil {
		t.Fatal(err)
	}
	if !data.serves(one) {
		t.Error("after undrain it does not serve")
	}
	if err := d.Client.DrainFor(ctx, "web", two, time.Second); err != nil {
		t.Fatal(err)
	}
	d.stop()
	startIn(t, dir, data, web, slow)
	if !data.serves(two) {
		t.Error("the restart ended the drain")
	}
	eventually(t, func() string { return unless(!data.serves(two), "the drain goes on") })
}

// TestDrainTimeout is that of the service, unless the operator says another.
func TestDrainTimeout(t *testing.T) {
	d := start(t, newMemory(), strings.Replace(web, "probe: none", "probe: none, drain_timeout: 1h", 1))
	until := func() *time.Time { return d.status(t).Services[0].Backends[0].DrainsUntil }
	one := ap("10.0.0.1:80")
	if err := d.Client.Drain(t.Context(), "web", one); err != nil {
		t.Fatal(err)
	}
	if u := until(); u == nil || time.Until(*u) < 59*time.Minute {
		t.Errorf("drains until %v", u)
	}
	if err := d.Client.DrainFor(t.Context(), "web", one, 0); err != nil {
		t.Fatal(err)
	}
	if u := until(); u != nil {
		t.Errorf("drains until %v", u)
	}
}

// TestSlowStartByItself: each step comes by itself.
func TestSlowStartByItself(t *testing.T) {
	data := newMemory()
	d := start(t, data, strings.Replace(web, "probe: none", "probe: none, slow_start: 1s", 1), func(p *parts) { p.timing.sweep = time.Hour })
	if err := d.Client.AddBackend(t.Context(), "web", ap("10.0.0.3:80"), api.BackendRequest{}); err != nil {
		t.Fatal(err)
	}
	if got := d.shares(t, "web"); got == "10.0.0.1 healthy 1, 10.0.0.2 healthy 1, 10.0.0.3 healthy 1" {
		t.Errorf("the new backend has all of its weight at once: %s", got)
	}
	eventually(t, func() string {
		got := d.shares(t, "web")
		return unless(got == "10.0.0.1 healthy 1, 10.0.0.2 healthy 1, 10.0.0.3 healthy 1", "%s", got)
	})
	if n := data.written(); n > 12 {
		t.Errorf("%d writes", n)
	}
}

func (m *memory) written() (n int) {
	m.set(func() { n = m.applies })
	return n
}

func TestClearOverrides(t *testing.T) {
	d, ctx := start(t, newMemory(), web), t.Context()
	one, two, three := ap("10.0.0.1:80"), ap("10.0.0.2:80"), ap("10.0.0.3:80")
	say := func() {
		t.Helper()
		for _, err := range []error{
			d.Client.SetWeight(ctx, "web", one, 9), d.Client.Disable(ctx, "web", two), d.Client.AddBackend(ctx, "web", three, api.BackendRequest{Zone: "z"}),
			d.Client.AddService(ctx, "mail", api.ServiceRequest{Text: "{frontends: 'tcp://203.0.113.9:25', backends: [{address: 10.0.0.9, zone: z}], probe: none}"}),
			d.Client.DisableZone(ctx, "z", ""), d.Client.DisableZone(ctx, "z", "web"),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	clear := func(f api.OverrideFilter, left ...string) {
		t.Helper()
		if _, err := d.Client.ClearOverrides(ctx, f); err != nil {
			t.Fatal(err)
		}
		list, err := d.Client.Overrides(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range list {
			name := o.Service
			if o.Backend.IsValid() {
				name += " " + o.Backend.Addr().String()
			}
			got = append(got, strings.TrimSpace(name+" "+o.Zone))
		}
		if g, w := strings.Join(got, ", "), strings.Join(left, ", "); g != w {
			t.Errorf("%+v leaves %s, want %s", f, g, w)
		}
	}
	say()
	d.wants(t, "web", "10.0.0.1 healthy 9, 10.0.0.2 disabled 0, 10.0.0.3 draining 0")
	clear(api.OverrideFilter{Service: "web", Backend: two}, "z", "web z", "mail", "web 10.0.0.1", "web 10.0.0.3")
	clear(api.OverrideFilter{Service: "web", Backend: three}, "z", "web z", "mail", "web 10.0.0.1")
	clear(api.OverrideFilter{Service: "web"}, "z", "mail")
	d.wants(t, "web", "10.0.0.1 healthy 1, 10.0.0.2 healthy 1")
	_, err := d.Client.ClearOverrides(ctx, api.OverrideFilter{Service: "web"})
	refusal(t, err, http.StatusNotFound, "nothing was said")
	clear(api.OverrideFilter{})
	if n := len(d.status(t).Services); n != 1 {
		t.Errorf("%d services", n)
	}
	say()
	clear(api.OverrideFilter{})
	d.wants(t, "web", "10.0.0.1 healthy 1, 10.0.0.2 healthy 1")
}

// TestOperatorFileOfBefore: version 1 had drains and weights alone.
func TestOperatorFileOfBefore(t *testing.T) {
	dir := t.TempDir()
	text := `{"version": 1, "overrides": [{"service": "web", "backend": "10.0.0.1:80", "drain": true}, {"service": "web", "backend": "10.0.0.2:80", "weight": 3}]}`
	if err := os.WriteFile(filepath.Join(dir, "overrides.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := openOperator(dir)
	if err != nil {
		t.Fatal(err)
	}
	said := s.said()
	if o := said.Overrides[probe.Key{Service: "web", Backend: ap("10.0.0.1:80")}]; o.Drain == nil || !*o.Drain || o.Deadline != nil {
		t.Errorf("drain %+v", o)
	}
	at := time.Now().Add(time.Hour).Round(0)
	if err := s.change(func(o *Operator) {
		o.addBackend("web", model.Backend{Address: ap("[2001:db8::1]:80"), Weight: 0, Zone: "z", Tags: model.TagsOf("a", "b"), Priority: 2, ServerID: "0a0b"})
		o.Services["mail"] = "frontends: x\n"
		o.Zones[model.DisabledZone{Zone: "z", Service: "web"}] = true
		o.Overrides[probe.Key{Service: "x", Backend: ap("10.0.0.1:80")}] = model.Override{Service: "x", Backend: ap("10.0.0.1:80"), Disabled: true, Deadline: &at}
	}); err != nil {
		t.Fatal(err)
	}
	again, err := ReadOperator(dir)
	if err != nil {
		t.Fatal(err)
	}
	now := s.said()
	if b := again.Backends["web"]; len(b) != 1 || b[0] != now.Backends["web"][0] {
		t.Errorf("backends %+v, want %+v", again.Backends, now.Backends)
	}
	if again.Services["mail"] != "frontends: x\n" || len(again.Zones) != 1 || len(again.Overrides) != 3 {
		t.Errorf("read back %+v", again)
	}
	if o := again.Overrides[probe.Key{Service: "x", Backend: ap("10.0.0.1:80")}]; !o.Disabled || !o.Deadline.Equal(at) {
		t.Errorf("read back %+v", o)
	}
}

package control

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

const byRole = "  web: {frontends: 'tcp://203.0.113.1:80', probe: " + unprobed + ", role: primary, backends: ['10.0.0.1:80', '10.0.0.2:80']}\n"

// says tells what a probe found; second is when the role changed, 0: nobody saw it.
func (d *daemon) says(backend string, state model.Health, role string, second int64) {
	h := model.BackendHealth{State: state, Role: role}
	if second > 0 {
		h.RoleSince = time.Unix(second, 0)
	}
	d.probes(backend, h)
}

// awaitRoles waits until the backends of web are so: state, role, and how many slots.
func (d *daemon) awaitRoles(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, func() string {
		var got []string
		for _, b := range d.published.Load().plan.service("web").Backends {
			line := b.State + " " + b.Role
			if b.Effective > 0 {
				line += " serves"
			}
			got = append(got, line)
		}
		return unless(strings.Join(got, ", ") == strings.Join(want, ", "), "backends are %q", got)
	})
}

// TestRolesOutliveTheDaemon: who replaced whom is known after a restart, so that an
// old primary does not get the writes when the new one fails.
func TestRolesOutliveTheDaemon(t *testing.T) {
	data, dir := newMemory(), t.TempDir()
	d := startIn(t, dir, data, byRole)
	d.says("10.0.0.1:80", model.Healthy, "primary", 0)
	d.says("10.0.0.2:80", model.Healthy, "replica", 0)
	d.awaitRoles(t, "healthy primary serves", "healthy replica")
	d.says("10.0.0.1:80", model.Unhealthy, "primary", 0)
	d.awaitRoles(t, "unhealthy primary serves", "healthy replica") // fail open

	// The primary is away when the daemon begins, as it was before.
	d.stop()
	d = startIn(t, dir, data, byRole)
	d.says("10.0.0.1:80", model.Unhealthy, "", 0)
	d.says("10.0.0.2:80", model.Healthy, "replica", 0)
	d.awaitRoles(t, "unhealthy primary serves", "healthy replica")

	// The replica is promoted while there is no daemon, and the old primary is back.
	d.stop()
	d = startIn(t, dir, data, byRole)
	d.says("10.0.0.1:80", model.Healthy, "primary", 0)
	d.says("10.0.0.2:80", model.Healthy, "primary", 0)
	d.awaitRoles(t, "healthy primary", "healthy primary serves")

	// The new one fails, before a restart and after.
	d.says("10.0.0.2:80", model.Unhealthy, "primary", 0)
	d.awaitRoles(t, "healthy primary", "unhealthy primary serves")
	d.stop()
	d = startIn(t, dir, data, byRole)
	d.says("10.0.0.1:80", model.Healthy, "primary", 0)
	d.awaitRoles(t, "healthy primary", "unknown primary serves")
	d.says("10.0.0.2:80", model.Unhealthy, "", 0)
	d.awaitRoles(t, "healthy primary", "unhealthy primary serves")

	// Who takes it out of the service wants the old one.
	d.write(t, strings.Replace(byRole, ", '10.0.0.2:80'", "", 1))
	if err := d.Client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		b := d.published.Load().plan.service("web").Backends
		return unless(b[0].Effective > 0, "backends are %+v", b)
	})
	d.stop()
	text, err := os.ReadFile(filepath.Join(dir, "state", "roles.json"))
	if err != nil || strings.Contains(string(text), "10.0.0.2") || !strings.Contains(string(text), "10.0.0.1:80") {
		t.Errorf("kept: %s, %v", text, err)
	}
}

// TestReplacedPrimaryAtStart: one that was replaced and did not serve is not taken
// for down, and the other not for replaced.
func TestReplacedPrimaryAtStart(t *testing.T) {
	was := leftOver{role: lastRole{role: "primary", since: time.Unix(5, 0)}}
	s := model.Service{Role: writes}
	h, known := healthAtStart(s, was, time.Unix(99, 0))
	if !known || h.State != model.Unhealthy || h.Role != "primary" || !h.RoleSince.Equal(time.Unix(5, 0)) {
		t.Errorf("the later one is %+v, %v", h, known)
	}
	was.replaced = true
	if h, known = healthAtStart(s, was, time.Unix(99, 0)); !known || h.State != model.HealthUnknown || h.Role != "primary" {
		t.Errorf("the one that was replaced is %+v, %v", h, known)
	}
	s.Role = reads
	was = leftOver{serves: true, inTable: true, role: lastRole{role: "primary"}}
	if h, _ := healthAtStart(s, was, time.Unix(99, 0)); h.Role != "primary" {
		t.Errorf("the one that stood in is %+v", h)
	}
}

func TestRoleStore(t *testing.T) {
	dir, now := t.TempDir(), time.Unix(1000, 0)
	key := func(service string) probe.Key { return probe.Key{Service: service, Backend: ap("10.0.0.1:80")} }
	services := []model.Service{{Name: "web", Role: writes}, {Name: "plain"}}
	open := func() (*roleStore, *bytes.Buffer) {
		var log bytes.Buffer
		s := openRoles(dir, slog.New(slog.NewTextHandler(&log, nil)))
		s.apply(services)
		return s, &log
	}
	s, _ := open()
	s.complete(key("web"), model.BackendHealth{State: model.Healthy, Role: "replica"}, now)
	s.complete(key("plain"), model.BackendHealth{State: model.Healthy, Role: "replica"}, now)
	s.save()
	s, _ = open()
	if h := s.complete(key("web"), model.BackendHealth{State: model.Healthy, Role: "primary"}, now); !h.RoleSince.Equal(now) {
		t.Errorf("a change that nobody saw was at %v", h.RoleSince)
	}
	if h := s.complete(key("plain"), model.BackendHealth{State: model.Unhealthy}, now); h.Role != "" {
		t.Errorf("a service without a role remembers %q", h.Role)
	}
	s.save()
	s, _ = open()
	if h := s.complete(key("web"), model.BackendHealth{State: model.Unhealthy}, now); h.Role != "primary" || !h.RoleSince.Equal(now) {
		t.Errorf("after a restart it is %+v", h)
	}
	// It was asked, and has none.
	s.complete(key("web"), model.BackendHealth{State: model.Healthy}, now)
	if h := s.complete(key("web"), model.BackendHealth{State: model.Unhealthy}, now); h.Role != "" {
		t.Errorf("it still has the role %q", h.Role)
	}

	// A file that cannot be read or written is told, and stops nothing.
	for _, text := range []string{"{", `{"version": 9}`} {
		if err := os.WriteFile(s.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, log := open(); len(s.of) != 0 || !strings.Contains(log.String(), "cannot read which backend had which role") {
			t.Errorf("%s: %v, log %s", text, s.of, log)
		}
	}
	s, log := open()
	s.path = filepath.Join(s.path, "below", "a", "file")
	s.complete(key("web"), model.BackendHealth{State: model.Healthy, Role: "replica"}, now)
	s.save()
	s.save()
	if n := strings.Count(log.String(), "cannot keep which backend"); n != 1 || !s.dirty {
		t.Errorf("told %d times, dirty %v: %s", n, s.dirty, log)
	}
}

package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/model"
)

func TestHooks(t *testing.T) {
	cfg := parse(t, `
interfaces: eth0
defaults: {critical: true, on_change: {webhook: "https://user:secret@a.example:8443/x?key=1"}}
services:
  a: {frontends: tcp://192.0.2.1:80, backends: []}
  b:
    frontends: tcp://192.0.2.2:80
    backends: {address: 10.0.0.1, critical: true}
    critical: false
    on_change:
    - {command: [/bin/notify, "", "a b"], states: role, timeout: 1m}
    - {webhook: http://b/, headers: {Authorization: Bearer x, X-Two: "2"}, retries: 0, states: [disabled, draining, draining]}
  c: {frontends: tcp://192.0.2.3:80, backends: [], on_change: []}
`)
	usual := []model.HookEvent{model.HookHealthy, model.HookUnhealthy, model.HookEjected, model.HookRole}
	equal(t, []model.Hook{{Webhook: "https://user:secret@a.example:8443/x?key=1", Events: usual, Timeout: 10 * time.Second, Retries: 5}}, cfg.Services[0].OnChange)
	equal(t, []model.Hook{
		{Command: []string{"/bin/notify", "", "a b"}, Events: []model.HookEvent{model.HookRole}, Timeout: time.Minute},
		{Webhook: "http://b/", Headers: map[string]string{"Authorization": "Bearer x", "X-Two": "2"}, Events: []model.HookEvent{model.HookDisabled, model.HookDraining}, Timeout: 10 * time.Second},
	}, cfg.Services[1].OnChange)
	equal(t, []model.Hook(nil), cfg.Services[2].OnChange)
	for i, want := range []bool{true, false, true} {
		if cfg.Services[i].Critical != want {
			t.Errorf("service %d is critical: %v", i, !want)
		}
	}
	if !cfg.Services[1].Backends[0].Critical {
		t.Error("the backend is not critical")
	}
	for i, want := range []string{"/bin/notify", "http://b/"} {
		equal(t, want, cfg.Services[1].OnChange[i].Name())
	}
	equal(t, "https://a.example:8443/x", cfg.Services[0].OnChange[0].Name())
}

func TestHookErrors(t *testing.T) {
	const web = "services:\n  web:\n    frontends: tcp://192.0.2.1:80\n    backends: []\n    on_change: "
	for _, c := range []struct{ name, text, want string }{
		{"nothing", web + "{timeout: 1s}\n", "x.yaml:6:16: on_change: neither command nor webhook is given (for example {webhook: https://alerts.example.com/xlb})"},
		{"both", web + "{command: /a, webhook: http://a/}\n", "x.yaml:6:30: on_change: a hook has either a command or a webhook (make two of it)"},
		{"a webhook's keys", web + "{command: /a, headers: {a: b}, retries: 1}\n", lines(
			"x.yaml:6:30: on_change: headers has no effect on a command (remove headers)",
			"x.yaml:6:47: on_change: retries has no effect on a command (remove retries)")},
		{"relative", web + "{command: [notify, -x]}\n", `x.yaml:6:27: on_change: command: "notify" is not an absolute path (give the program's whole path; there is no shell and no PATH)`},
		{"empty", web + "{command: [], states: []}\n", lines(
			"x.yaml:6:26: on_change: command is empty (for example [/usr/local/bin/backend-changed])",
			"x.yaml:6:38: on_change: states is empty (remove states for the usual ones, or remove the hook)")},
		{"values", web + "{webhook: ftp://a/, states: up, headers: {'a b': c, d: \"x\\ny\"}}\n", lines(
			`x.yaml:6:26: webhook: "ftp://a/" is not a URL (for example https://alerts.example.com/xlb)`,
			`x.yaml:6:44: states: unknown value "up" (known: healthy, unhealthy, ejected, draining, disabled, role)`,
			"x.yaml:6:58: \"a b\" is not a valid header name (1 to 128 letters, digits or `-`)",
			`x.yaml:6:71: d: "x\ny" is not a valid header value (up to 4096 bytes, no control characters)`)},
		{"defaults, once", "defaults: {on_change: {command: notify}}\nservices:\n  a: {frontends: tcp://192.0.2.1:80, backends: []}\n  b: {frontends: tcp://192.0.2.2:80, backends: []}\n",
			`x.yaml:2:33: on_change: command: "notify" is not an absolute path (give the program's whole path; there is no shell and no PATH)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, refused(t, "interfaces: eth0\n"+c.text)); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

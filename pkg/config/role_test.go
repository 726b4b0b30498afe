package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/model"
)

const roleHead = "interfaces: eth0\npolicies: {p: {path: x}}\n"

func TestRole(t *testing.T) {
	cfg := parse(t, roleHead+`
defaults: {probe: {type: policy, policy: p}, role_fallback: any}
services:
  a: {frontends: tcp://192.0.2.1:80, backends: []}
  b: {frontends: tcp://192.0.2.2:80, backends: [], role: primary}
  c: {frontends: tcp://192.0.2.3:80, backends: [], role: primary, role_exclusive: none, role_fallback: none}
  d: {frontends: tcp://192.0.2.4:80, backends: [], role: replica, role_fallback: primary}
  e: {frontends: tcp://192.0.2.5:80, backends: [], role: leader, role_exclusive: leader}
`)
	var got []model.RoleChoice
	for _, s := range cfg.Services {
		got = append(got, s.Role)
	}
	equal(t, []model.RoleChoice{
		{}, {Role: "primary", Fallback: model.FallbackAny, Exclusive: "primary"}, {Role: "primary"},
		{Role: "replica", Fallback: model.FallbackRole, FallbackRole: "primary", Exclusive: "primary"}, {Role: "leader", Fallback: model.FallbackAny, Exclusive: "leader"},
	}, got)
}

func TestRoleErrors(t *testing.T) {
	const web = "services:\n  web:\n    frontends: tcp://192.0.2.1:80\n    backends: []\n"
	const policy = web + "    probe: {type: policy, policy: p}\n"
	for _, c := range []struct{ name, text, want string }{
		{"tcp", web + "    role: primary\n",
			`x.yaml:7:11: service "web" wants the role primary, but its probe, of type tcp, tells no roles (use a probe of type postgres or mysql with a user, redis, exec or policy)`},
		{"no user", web + "    probe: postgres\n    role: primary\n",
			`x.yaml:8:11: service "web" wants the role primary, but its probe, of type postgres, has no user and asks for no role (add user: to the probe)`},
		{"inherited", "defaults: {role: primary}\n" + web + "    probe: none\n",
			`x.yaml:5:3: service "web" wants the role primary, but its probe, of type none, tells no roles (use a probe of type postgres or mysql with a user, redis, exec or policy)`},
		{"no word", policy + "    role: Primary\n", "x.yaml:8:11: role: \"Primary\" is not a valid role (1 to 63 of `a-z`, `0-9`, `-`, `.`, `_`)"},
		{"nothing to fall back from", policy + "    role_fallback: any\n    role_exclusive: none\n", lines(
			"x.yaml:8:5: role_fallback has no effect without role (add role:, for example role: primary, or remove role_fallback)",
			"x.yaml:9:5: role_exclusive has no effect without role (add role:, for example role: primary, or remove role_exclusive)")},
		{"itself", policy + "    role: primary\n    role_fallback: primary\n",
			"x.yaml:9:20: role_fallback: primary is the role itself (name another role, any or none)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, refused(t, roleHead+c.text)); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

package config

import (
	"fmt"

	"github.com/xlb-io/xlb/pkg/model"
)

// rawRole is which backends take part by their role, as it is written.
type rawRole struct {
	role, fallback, exclusive opt[string]
}

var roleKind = str("role", `^[a-z0-9._-]{1,63}$`, 63, "1 to 63 of `a-z`, `0-9`, `-`, `.`, `_`")

// nothing stands for no role.
const nothing = "none"

var roleFields = []field[rawRole]{
	of("role", roleKind.kind, func(r *rawRole) *opt[string] { return &r.role }, about{
		doc: "Only backends of which the probe says that they have this role take connections; a change of role holds with the very probe that found it. Connections of a backend that lost it are cut. Needs a probe that tells roles: `postgres` and `mysql` with a user, `redis`, `exec` or `policy`. See docs/probes.md.", defDoc: "all backends, whatever their role", example: "primary"}),
	of("role_fallback", roleKind.kind, func(r *rawRole) *opt[string] { return &r.fallback }, about{
		doc: "Who serves while no backend of the `role` can: `none`, `any` of the backends, or those of another role. Connections that began there stay there.", def: "none", example: "any"}),
	of("role_exclusive", roleKind.kind, func(r *rawRole) *opt[string] { return &r.exclusive }, about{
		doc: "A role of which there is one. Of several backends that say that they have it, only the one that was seen to take it last is believed: an old primary that comes back must get neither writes nor reads. `none`: all are believed.", def: model.RolePrimary, example: "none"}),
}

// serviceRole is which backends of a service take part by their role. Its probe is
// known.
func (w *world) serviceRole(at place, s *model.Service, raw *rawService) model.RoleChoice {
	own, inherited := &raw.common.role, &w.defaults.role
	role, fallback, exclusive := own.role.or(inherited.role), own.fallback.or(inherited.fallback), own.exclusive.or(inherited.exclusive)
	if !role.given {
		for _, k := range given(mark("role_fallback", own.fallback), mark("role_exclusive", own.exclusive)) {
			w.fail(k.at, k.name+" has no effect without role", "add role:, for example role: primary, or remove "+k.name)
		}
		return model.RoleChoice{}
	}
	if !role.ok {
		return model.RoleChoice{}
	}
	if own.role.given {
		at = own.role.at
	}
	w.checkTellsRole(at, s, role.v)
	out := model.RoleChoice{Role: role.v, Exclusive: exclusive.orValue(model.RolePrimary)}
	if out.Exclusive == nothing {
		out.Exclusive = ""
	}
	switch fallback.v {
	case "", nothing:
	case "any":
		out.Fallback = model.FallbackAny
	case role.v:
		w.fail(fallback.at, fmt.Sprintf("role_fallback: %s is the role itself", role.v), "name another role, any or none")
	default:
		out.Fallback, out.FallbackRole = model.FallbackRole, fallback.v
	}
	return out
}

// checkTellsRole refuses a role where no probe can tell it.
func (w *world) checkTellsRole(at place, s *model.Service, role string) {
	const hint = "use a probe of type postgres or mysql with a user, redis, exec or policy"
	switch p := s.Probe; p.Type {
	case "", model.ProbePolicy, model.ProbeRedis, model.ProbeExec:
		return // "" is a probe that is wrong by itself
	case model.ProbePostgres, model.ProbeMySQL:
		if p.Login.User != "" {
			return
		}
		w.fail(at, fmt.Sprintf("service %q wants the role %s, but its probe, of type %s, has no user and asks for no role", s.Name, role, p.Type), "add user: to the probe")
		return
	}
	w.fail(at, fmt.Sprintf("service %q wants the role %s, but its probe, of type %s, tells no roles", s.Name, role, s.Probe.Type), hint)
}

package control

import (
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// onStageByRole begins with healthy backends of these roles.
func onStageByRole(t *testing.T, choice model.RoleChoice, roles ...string) *stage {
	t.Helper()
	s := onStage(t, model.Placement{}, pair[:len(roles)]...)
	for n, role := range roles {
		s.is(n+1, role)
	}
	s.in.Services[0].Role = choice
	return s.after(0)
}

// is gives a backend a role as a probe that found it for the first time.
func (s *stage) is(n int, role string) *stage { return s.became(n, role, 0) }

// became gives a backend a role that it took at some second; 0: nobody saw it.
func (s *stage) became(n int, role string, second int64) *stage {
	h := model.BackendHealth{State: model.Healthy, Role: role}
	if second > 0 {
		h.RoleSince = time.Unix(second, 0)
	}
	s.in.Health[s.key(n)] = h
	return s
}

// dies takes a backend down; its role is what was known last.
func (s *stage) dies(n int) *stage {
	h := s.in.Health[s.key(n)]
	h.State, h.Reason = model.Unhealthy, "refused"
	s.in.Health[s.key(n)] = h
	return s
}

var (
	writes = model.RoleChoice{Role: "primary", Exclusive: "primary"}
	reads  = model.RoleChoice{Role: "replica", Fallback: model.FallbackRole, FallbackRole: "primary", Exclusive: "primary"}
)

// TestPrimaryFollowsPromotion: only the primary takes connections, those of a
// demoted one are cut, and one that comes back as if nothing had happened gets none.
func TestPrimaryFollowsPromotion(t *testing.T) {
	s := onStageByRole(t, writes, "primary", "replica", "replica").wants("1 0- 0-").reason(2, "role replica; the service wants primary")
	// A switch: the table and the connections follow with the same probes.
	s.became(1, "replica", 10).became(2, "primary", 10).after(0).wants("0- 1 0-")
	// The primary is gone: fail open doubts the probe of the primary, and asks no replica.
	s.dies(2).after(0).wants("0- 1 0-")
	if w := s.web(); w.Usable != 0 || !w.FailOpen || w.StandIns {
		t.Errorf("without a primary: %d usable, fail open %v, stand-ins %v", w.Usable, w.FailOpen, w.StandIns)
	}
	s.became(3, "primary", 20).after(0).wants("0- 0- 1")
	// The old primary comes back and was never told.
	s.became(2, "primary", 10).after(0).wants("0- 0- 1").reason(2, "says that it is primary, but 10.0.0.3:80 became it later")
	// Not even when the new one fails: its data is older.
	s.dies(3).after(0).wants("0- 0- 1")
	s.in.Services[0].Fail = model.FailClosed
	s.after(0).wants("0- 0- 0-")
	// Now it is promoted on purpose.
	s.became(2, "replica", 30).after(0).wants("0- 0- 0-")
	s.became(2, "primary", 40).after(0).wants("0- 1 0-")
}

// TestPrimaryNobodySaw: of several that say so from the beginning the one that has the
// table stays, while it is usable.
func TestPrimaryNobodySaw(t *testing.T) {
	s := onStageByRole(t, writes, "", "primary", "").wants("0 1 0").reason(1, "its role is not known; the service wants primary")
	s.is(1, "primary").is(3, "primary").after(0).wants("0- 1 0-")
	s.restart().after(0).wants("0- 1 0-")
	s.dies(2).after(0).wants("1 0- 0-")
	s.is(2, "primary").after(0).wants("1 0- 0-")

	s = onStageByRole(t, model.RoleChoice{Role: "primary"}, "primary", "primary", "replica").wants("1 1 0-")
	s.dies(1).after(0).wants("0- 1 0-")
}

// TestReplicasFallBack: reads go to replicas, to the primary while there is none,
// and back; what is read there may stay.
func TestReplicasFallBack(t *testing.T) {
	s := onStageByRole(t, reads, "primary", "replica", "replica", "witness").wants("0 1 1 0-")
	s.dies(2).after(0).wants("0 0- 1 0-")
	s.dies(3).after(0).wants("1 0- 0- 0-").reason(1, "stands in: no backend of role replica is usable")
	if w := s.web(); w.Usable != 1 || w.FailOpen || !w.StandIns {
		t.Errorf("%d usable, fail open %v, stand-ins %v", w.Usable, w.FailOpen, w.StandIns)
	}
	s.is(3, "replica").after(0).wants("0 0- 1 0-")
	// The replica becomes the primary: its readers stay, new ones have nobody else.
	s.became(3, "primary", 5).dies(1).after(0).wants("0- 0- 1 0-")
	// Of two that say that they are the primary one is believed here too.
	s.is(1, "primary").after(0).wants("0- 0- 1 0-").reason(1, "says that it is primary, but 10.0.0.3:80 became it later")
	s.dies(1)
	// Nobody is left: the replicas are doubted, not the witness.
	s.dies(3).after(0).wants("0- 1 0- 0-")
}

// TestStandInFails: without any of the role fail open tries those that stand in.
func TestStandInFails(t *testing.T) {
	s := onStageByRole(t, reads, "primary", "witness").wants("1 0-")
	s.dies(1).after(0).wants("1 0-")
	if w := s.web(); w.Usable != 0 || !w.FailOpen || !w.StandIns {
		t.Errorf("%d usable, fail open %v, stand-ins %v", w.Usable, w.FailOpen, w.StandIns)
	}
	s.is(2, "replica").dies(2).after(0).wants("0- 1")
	s.is(2, "primary").after(0).wants("0- 1").warned(0)
	s.is(1, "primary").after(0).warned(1)
}

// warned counts the warnings.
func (s *stage) warned(n int) *stage {
	s.Helper()
	if got := s.plan.Warnings; len(got) != n {
		s.Errorf("warnings %q, want %d", got, n)
	}
	return s
}

func TestRoleFallsBackToAny(t *testing.T) {
	s := onStageByRole(t, model.RoleChoice{Role: "leader", Fallback: model.FallbackAny, Exclusive: "leader"}, "", "follower", "leader").wants("0 0 1")
	s.dies(3).after(0).wants("1 1 0-")
	s.is(3, "leader").after(0).wants("0 0 1")
}

// TestRoleAndDrain: one that is drained keeps its connections, and another of the
// role or the fallback takes the new ones.
func TestRoleAndDrain(t *testing.T) {
	s := onStageByRole(t, reads, "primary", "replica", "")
	s.in.Services[0].Backends[1].Drain = true
	s.after(0).wants("1 0 0").reason(2, "drained by the configuration")
}

// TestRolesAtStart: what the maps hold stands until the first probes, so that a
// restart changes nothing and cuts nothing.
func TestRolesAtStart(t *testing.T) {
	for _, c := range []struct {
		choice model.RoleChoice
		roles  []string
		want   string
	}{
		{writes, []string{"primary", "replica", "replica"}, "1 0- 0-"},
		{reads, []string{"primary", "replica", "witness"}, "0 1 0-"},
		{reads, []string{"primary", "primary", "witness"}, "1 0- 0-"},
		{model.RoleChoice{Role: "leader", Fallback: model.FallbackAny}, []string{"follower", "follower", "leader"}, "0 0 1"},
	} {
		s := onStageByRole(t, c.choice, c.roles...).wants(c.want)
		known := s.in.Health
		s.restart()
		s.in.Health = s.in.atStart(nil, time.Unix(99, 0))
		if c.choice.Fallback == model.FallbackAny {
			s.in.Health[s.key(3)] = model.BackendHealth{Role: "leader"} // its probe was the first
		}
		before := s.plan.Contents
		s.after(0).wants(c.want)
		if n := maps.Diff(before, s.plan.Contents).Len(); n != 0 {
			t.Errorf("%+v: a restart changes %d entries", c.choice, n)
		}
		s.in.Health = known
		s.after(0).wants(c.want)
	}
}

// TestRoleIsNew: a daemon that is to look at roles for the first time knows none,
// and cuts nobody's connections before it does.
func TestRoleIsNew(t *testing.T) {
	s := onStage(t, model.Placement{}, pair[:3]...).wants("1 1 1")
	s.in.Services[0].Role = writes
	s.restart()
	s.in.Health = s.in.atStart(nil, time.Unix(99, 0))
	s.after(0).wants("0 0 0")
	s.is(2, "primary").after(0).wants("0 1 0")
	s.is(1, "replica").after(0).wants("0- 1 0")
}

package control

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
)

// restartKept is another daemon, after a time without one, that finds the maps and
// the file of standings.
func (s *stage) restartKept(away time.Duration) *stage {
	s.Helper()
	data, err := json.Marshal(keptStandings{s.in.Time, keep(s.plan.standings, s.in.Services, s.in.Now, s.in.Time)})
	if err != nil {
		s.Fatal(err)
	}
	var kept keptStandings
	if err := json.Unmarshal(data, &kept); err != nil {
		s.Fatal(err)
	}
	s.in.Time = s.in.Time.Add(away)
	s.in.Now, s.in.Standings = 0, kept.standings(s.in.Time)
	return s.after(0)
}

func (s *stage) keeps(n int) *stage {
	s.Helper()
	if got := keep(s.plan.standings, s.in.Services, s.in.Now, s.in.Time); len(got) != n {
		s.Errorf("of %d services something is kept, want %d: %+v", len(got), n, got)
	}
	return s
}

func TestSlowStartOutlivesRestart(t *testing.T) {
	const length = 100 * time.Second
	s := onStage(t, model.Placement{SlowStart: length}, "0 - 1", "0 - 1").keeps(0)
	s.in.Services[0].Backends = append(s.in.Services[0].Backends, model.Backend{Address: ap("10.0.0.3:80"), Weight: 1})
	s.after(time.Hour).wants("10 10 1").keeps(1)
	s.after(35 * time.Second).wants("5 5 2").wakes(5 * time.Second)
	// It goes on where it was. Nobody watched it meanwhile.
	s.restartKept(time.Minute).wants("5 5 2").wakes(5 * time.Second)
	s.after(5*time.Second).wants("2 2 1").reason(3, "slow start: 50% of its weight")
	// One that is new since has nothing to do with it; those of before are not new.
	s.in.Services[0].Backends = append(s.in.Services[0].Backends, model.Backend{Address: ap("10.0.0.4:80"), Weight: 1})
	s.restartKept(0).wants("10 10 5 1")
	s.after(length).wants("1 1 1 1").keeps(0)
	s.restartKept(0).wants("1 1 1 1").wakes(0)
	// Down while no daemon ran.
	s.down(3).after(time.Second).up(3).after(time.Second).wants("10 10 1 10").down(3).restartKept(0).wants("1 1 0- 1")
	s.up(3).after(time.Second).wants("10 10 1 10")
}

func TestCalmReturnOutlivesRestart(t *testing.T) {
	const calm = time.Minute
	s := onStage(t, model.Placement{Tiers: model.Tiers{ReturnAfter: calm}}, "0 - 1", "1 - 1").wants("1 0").keeps(0)
	s.down(1).after(time.Hour).wants("0- 1")
	s.up(1).after(time.Second).wants("0 1").wakes(calm).keeps(1)
	s.after(40 * time.Second).restartKept(time.Hour).wants("0 1").wakes(20 * time.Second)
	s.after(20 * time.Second).wants("1 0").wakes(0).keeps(0)
	s.restartKept(0).wants("1 0").wakes(0)
}

// TestDrainOutlivesRestart: it goes by the calendar.
func TestDrainOutlivesRestart(t *testing.T) {
	s := onStage(t, model.Placement{DrainTimeout: time.Minute}, "0 - 1", "0 - 1")
	s.in.Services[0].Backends[0].Drain = true
	s.after(time.Hour).wants("0 1").wakes(time.Minute).keeps(1)
	s.after(30 * time.Second).restartKept(10 * time.Second).wants("0 1").wakes(20 * time.Second)
	s.restartKept(time.Hour).wants("0- 1").keeps(0)
	s.restartKept(0).wants("0- 1").wakes(0)
}

// TestStandingsFile: a daemon that is restarted goes on with a slow start.
func TestStandingsFile(t *testing.T) {
	data, dir, ctx := newMemory(), t.TempDir(), t.Context()
	file := filepath.Join(dir, "state", "standings.json")
	slow := strings.Replace(web, "probe: none", "probe: none, slow_start: 10m", 1)
	kept := func(p *parts) { p.standingsFile = file }
	d := startIn(t, dir, data, slow, kept)
	d.stop()
	if _, err := os.Stat(file); err == nil {
		t.Error("there is a file without anything in it")
	}
	d = startIn(t, dir, data, slow, kept)
	if err := d.Client.AddBackend(ctx, "web", ap("10.0.0.3:80"), api.BackendRequest{}); err != nil {
		t.Fatal(err)
	}
	const slowly = "10.0.0.1 healthy 10, 10.0.0.2 healthy 10, 10.0.0.3 healthy 1"
	d.wants(t, "web", slowly)
	// Also if it gets no time to end.
	eventually(t, func() string {
		text, err := os.ReadFile(file)
		return unless(err == nil && strings.Contains(string(text), "10.0.0.3:80"), "the file holds %s, %v", text, err)
	})
	d.stop()
	d = startIn(t, dir, data, slow, kept)
	d.wants(t, "web", slowly)
	d.stop()
	if err := os.WriteFile(file, []byte("no JSON"), 0o600); err != nil {
		t.Fatal(err)
	}
	d = startIn(t, dir, data, slow, kept)
	d.wants(t, "web", "10.0.0.1 healthy 1, 10.0.0.2 healthy 1, 10.0.0.3 healthy 1")
}

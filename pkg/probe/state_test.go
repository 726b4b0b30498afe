package probe

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

func TestObserve(t *testing.T) {
	const unknown, up, down = model.HealthUnknown, model.Healthy, model.Unhealthy
	for _, c := range []struct {
		name       string
		rise, fall int
		outcomes   string // '.' passed, any other letter failed for that reason
		states     []model.Health
	}{
		{"first success decides", 3, 3, ".", []model.Health{up}},
		{"first failure decides", 3, 3, "x", []model.Health{down}},
		{"rise", 3, 1, "x...", []model.Health{down, down, down, up}},
		{"rise interrupted", 3, 1, "x..x...", []model.Health{down, down, down, down, down, down, up}},
		{"fall", 1, 3, ".xxx", []model.Health{up, up, up, down}},
		{"fall interrupted", 1, 3, ".xx.xxx", []model.Health{up, up, up, up, up, up, down}},
		{"reasons count together", 1, 2, ".xy", []model.Health{up, up, down}},
		{"flapping stays up", 2, 2, ".x.x.x", []model.Health{up, up, up, up, up, up}},
		{"flapping stays down", 2, 2, "x.x.x.", []model.Health{down, down, down, down, down, down}},
		{"one and one", 1, 1, ".x.x", []model.Health{up, down, up, down}},
		{"this host's failures do not count", 2, 2, "!.!x!!x!", []model.Health{unknown, up, up, up, up, up, down, down}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s Status
			decided := false
			now := time.Unix(1000, 0)
			for i, o := range c.outcomes {
				var err error
				switch o {
				case '.':
				case '!':
					err = fmt.Errorf("%w: no descriptors", errLocal)
				default:
					err = errors.New(string(o))
				}
				before := s
				now = now.Add(time.Second)
				state, reason := s.observe(err, decided, model.Probe{Rise: c.rise, Fall: c.fall}, now)
				decided = decided || o != '!'

				if s.State != c.states[i] {
					t.Fatalf("after %q: %s, want %s", c.outcomes[:i+1], s.State, c.states[i])
				}
				if state != (s.State != before.State) || reason != (s.Reason != before.Reason) {
					t.Errorf("after %q: reported changes %v, %v of %+v to %+v", c.outcomes[:i+1], state, reason, before, s)
				}
				if wantSince := map[bool]time.Time{true: now, false: before.Since}[state]; !s.Since.Equal(wantSince) {
					t.Errorf("after %q: since %s, want %s", c.outcomes[:i+1], s.Since, wantSince)
				}
				wantReason := ""
				if err != nil {
					wantReason = err.Error()
				}
				if s.Reason != wantReason {
					t.Errorf("after %q: reason %q, want %q", c.outcomes[:i+1], s.Reason, wantReason)
				}
				if o == '!' && (s.Streak != before.Streak || s.Passed != before.Passed) {
					t.Errorf("after %q: a failure of this host was counted: %+v", c.outcomes[:i+1], s)
				}
			}
		})
	}
}

func TestObserveStreak(t *testing.T) {
	var s Status
	for i, want := range []int{1, 2, 1, 2, 3, 1} {
		var err error
		if i >= 2 && i <= 4 {
			err = errors.New("refused")
		}
		s.observe(err, i > 0, model.Probe{Rise: 1, Fall: 2}, time.Now())
		if s.Streak != want || s.Passed != (err == nil) {
			t.Errorf("after outcome %d: %d in a row, passed %v; want %d, %v", i, s.Streak, s.Passed, want, err == nil)
		}
	}
}

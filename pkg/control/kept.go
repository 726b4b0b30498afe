package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/xlb-io/xlb/internal/statefile"
	"github.com/xlb-io/xlb/pkg/model"
)

// keptStandings is the form in which standings outlive the daemon, as far as time is
// still to change something: slow starts, tiers that wait to return, and drains of the
// configuration. What is not in it counts by the maps. It is an aid: what goes wrong
// with it is logged, and nothing else.
type keptStandings struct {
	// At is when the daemon last looked.
	At       time.Time               `json:"at"`
	Services map[string]keptStanding `json:"services"`
}

// keptStanding is a [standing] by the calendar.
type keptStanding struct {
	Up       map[netip.AddrPort]time.Time `json:"up,omitempty"`
	Good     map[uint8]time.Time          `json:"good,omitempty"`
	Draining map[netip.AddrPort]time.Time `json:"draining,omitempty"`
}

func standingsPath(stateDir string) string { return filepath.Join(stateDir, "standings.json") }

// keep returns what is to be kept of standings at a time of their clock, which by the
// calendar is now.
func keep(standings map[string]standing, services []model.Service, clock time.Duration, now time.Time) map[string]keptStanding {
	out := map[string]keptStanding{}
	for _, s := range services {
		of, p := standings[s.Name], s.Placement
		one := keptStanding{
			Up: underWay(of.up, p.SlowStart, clock, now), Good: underWay(of.good, p.Tiers.ReturnAfter, clock, now),
			Draining: underWay(of.draining, p.DrainTimeout, clock, now),
		}
		if len(one.Up)+len(one.Good)+len(one.Draining) > 0 {
			out[s.Name] = one
		}
	}
	return out
}

// underWay are, by the calendar, the beginnings of what lasts for length and has not
// ended. Clocks are set by small steps, which are no news.
func underWay[K comparable](began map[K]time.Duration, length, clock time.Duration, now time.Time) map[K]time.Time {
	out := map[K]time.Time{}
	for k, at := range began {
		if clock-at < length {
			out[k] = now.Add(at - clock).Round(100 * time.Millisecond)
		}
	}
	return out
}

// standings are those of a daemon that starts now, when its clock is at zero. Drains
// go by the calendar. That something was up or good counts as long as it was watched.
func (k keptStandings) standings(now time.Time) map[string]standing {
	out := map[string]standing{}
	for name, s := range k.Services {
		out[name] = standing{kept: true, up: since(s.Up, k.At), good: since(s.Good, k.At), draining: since(s.Draining, now)}
	}
	return out
}

// since are times of a clock that is at zero now. None is to come.
func since[K comparable](began map[K]time.Time, now time.Time) map[K]time.Duration {
	out := map[K]time.Duration{}
	for k, at := range began {
		out[k] = min(at.Sub(now), 0)
	}
	return out
}

// KeptStandings are the standings that a daemon would begin with.
func KeptStandings(stateDir string, now time.Time, log *slog.Logger) map[string]standing {
	return readStandings(standingsPath(stateDir), log).standings(now)
}

func readStandings(path string, log *slog.Logger) (out keptStandings) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return out
	}
	if err == nil {
		if err = json.Unmarshal(data, &out); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}
	if err != nil {
		log.Warn("slow starts, returns and drains begin anew", "error", err)
		return keptStandings{}
	}
	return out
}

// keepStandings writes them, beside the reconciler, if there is news. While
// something is watched it is news that it goes on.
func (c *controller) keepStandings() {
	if c.standingsFile == "" || c.plan == nil || c.keeping {
		return
	}
	now := keptStandings{c.now(), keep(c.plan.standings, c.cfg.Services, c.clock(), c.now())}
	watched := false
	for _, s := range now.Services {
		watched = watched || len(s.Up)+len(s.Good) > 0
	}
	if !watched && (len(now.Services)+len(c.kept) == 0 || reflect.DeepEqual(now.Services, c.kept)) {
		return
	}
	c.keeping = true
	c.helpers.Go(func() {
		err := statefile.ReplaceJSON(c.standingsFile, now)
		c.post(func() {
			c.keeping = false
			if err == nil {
				c.kept, c.keepError = now.Services, ""
			} else if text := err.Error(); text != c.keepError {
				c.keepError = text
				c.log.Warn("slow starts, returns and drains cannot be kept over a restart", "error", err)
			}
		})
	})
}

// keepLast writes them a last time. Nothing else runs any more.
func (c *controller) keepLast() {
	if c.standingsFile == "" || c.plan == nil {
		return
	}
	last := keptStandings{c.now(), keep(c.plan.standings, c.cfg.Services, c.clock(), c.now())}
	if len(last.Services)+len(c.kept) == 0 {
		return
	}
	if err := statefile.ReplaceJSON(c.standingsFile, last); err != nil {
		c.log.Warn("slow starts, returns and drains cannot be kept over a restart", "error", err)
	}
}

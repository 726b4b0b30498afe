package control

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/xlb-io/xlb/internal/statefile"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// lastRole is the role that a backend had last, and when it took that from another
// one; zero if nobody saw it.
type lastRole struct {
	role  string
	since time.Time
}

// roleStore remembers the roles of backends, of services that choose by them, over
// a restart: an old primary is known by when others became it, and that is told by
// no server. It belongs to the goroutine of the controller.
type roleStore struct {
	path    string // empty: it is not kept
	log     *slog.Logger
	of      map[probe.Key]lastRole
	chosen  map[string]bool // services that choose by role
	dirty   bool            // the file has something else
	problem string          // of the last write
}

type rolesFile struct {
	Version int          `json:"version"`
	Roles   []storedRole `json:"roles"`
}

type storedRole struct {
	Service string         `json:"service"`
	Backend netip.AddrPort `json:"backend"`
	Role    string         `json:"role"`
	Since   *time.Time     `json:"since,omitempty"`
}

const rolesVersion = 1

// openRoles remembers what the state directory holds. A file that cannot be read is
// no reason not to start: the roles are asked for anew.
func openRoles(dir string, log *slog.Logger) *roleStore {
	s := &roleStore{path: filepath.Join(dir, "roles.json"), log: log, of: map[probe.Key]lastRole{}}
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s
	}
	var file rolesFile
	if err == nil {
		err = json.Unmarshal(data, &file)
	}
	if err == nil && file.Version != rolesVersion {
		err = fmt.Errorf("version %d, this xlb reads version %d", file.Version, rolesVersion)
	}
	if err != nil {
		log.Warn("cannot read which backend had which role; of two primaries the later one is not known", "file", s.path, "error", err)
		return s
	}
	for _, one := range file.Roles {
		last := lastRole{role: one.Role}
		if one.Since != nil {
			last.since = *one.Since
		}
		s.of[probe.Key{Service: one.Service, Backend: one.Backend}] = last
	}
	return s
}

// apply forgets services that do not choose by role.
func (s *roleStore) apply(services []model.Service) {
	s.chosen = map[string]bool{}
	for _, one := range services {
		if one.Role.Role != "" {
			s.chosen[one.Name] = true
		}
	}
	for key := range s.of {
		if !s.chosen[key.Service] {
			s.forget(key)
		}
	}
}

// forget is for backends that are no longer there: who takes one out does not want it
// to stand in another's way.
func (s *roleStore) forget(key probe.Key) {
	if _, known := s.of[key]; known {
		delete(s.of, key)
		s.dirty = true
	}
}

// complete adds to what probes say under this daemon what was known before, and
// remembers it: a backend that cannot be asked has the role that it had, and one that
// says another took it while nobody looked, at some time until now.
func (s *roleStore) complete(key probe.Key, h model.BackendHealth, now time.Time) model.BackendHealth {
	if !s.chosen[key.Service] || h.State == model.HealthUnknown {
		return h
	}
	last := s.of[key]
	switch {
	case h.Role == "" && h.State == model.Healthy:
		s.forget(key) // it was asked and says none
		return h
	case h.Role == "":
		h.Role, h.RoleSince = last.role, last.since
		return h
	case !h.RoleSince.IsZero():
	case last.role == h.Role:
		h.RoleSince = last.since
	case last.role != "":
		h.RoleSince = now
	}
	if next := (lastRole{h.Role, h.RoleSince}); next.role != last.role || !next.since.Equal(last.since) {
		s.of[key], s.dirty = next, true
	}
	return h
}

// save writes the file if it has something else. A failure is logged once and tried
// again by the next call.
func (s *roleStore) save() {
	if !s.dirty || s.path == "" {
		return
	}
	file := rolesFile{Version: rolesVersion, Roles: []storedRole{}}
	for key, last := range s.of {
		one := storedRole{Service: key.Service, Backend: key.Backend, Role: last.role}
		if since := last.since.UTC(); !last.since.IsZero() {
			one.Since = &since
		}
		file.Roles = append(file.Roles, one)
	}
	slices.SortFunc(file.Roles, func(a, b storedRole) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), a.Backend.Compare(b.Backend))
	})
	problem := ""
	if err := statefile.ReplaceJSON(s.path, file); err != nil {
		problem = err.Error()
	}
	s.dirty = problem != ""
	if problem != "" && problem != s.problem {
		s.log.Warn("cannot keep which backend has which role; after a restart the later of two primaries is not known", "error", problem)
	}
	s.problem = problem
}

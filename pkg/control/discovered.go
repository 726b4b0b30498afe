package control

import (
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/discovery"
	"github.com/xlb-io/xlb/pkg/model"
)

func discoveryCache(stateDir string) string { return filepath.Join(stateDir, "discovered.json") }

// LastDiscovered returns, by the names of the services, the backends with which
// a daemon with this state directory would begin, and a word on each source of
// which it knows nothing.
func LastDiscovered(stateDir string, services []model.Service, log *slog.Logger) (map[string][]model.Backend, []string) {
	return discovery.Cached(discoveryCache(stateDir), services, log)
}

// takeDiscovered takes what discovery found since the last time.
func (c *controller) takeDiscovered() {
	for _, u := range c.discovery.Take() {
		c.found(u)
	}
	// The first round begins once every source has spoken.
	if c.plan == nil && c.retry == 0 && c.discovery.Complete() {
		c.notBefore = time.Time{}
	}
	c.publish()
}

func (c *controller) found(u discovery.Update) {
	before := c.discovered[u.Service]
	c.discovered[u.Service] = u.Backends
	if slices.Equal(before, u.Backends) {
		return
	}
	c.retarget = true
	c.touch(u.Service)
	c.weighSoon(u.Service)
	// A family that comes or goes may need a source address.
	c.dirty = c.dirty || families(before) != families(u.Backends)
}

func families(backends []model.Backend) (found [2]bool) {
	for _, b := range backends {
		found[tunnelIndex(b.Address.Addr())] = true
	}
	return found
}

// failedSources are reasons of a status.
func (c *controller) failedSources() (reasons []string) {
	for _, s := range c.cfg.Services {
		if slices.ContainsFunc(c.discovery.Status(s.Name), func(one discovery.Status) bool {
			return one.State == discovery.Failing || one.State == discovery.Stale
		}) {
			reasons = append(reasons, "discovery_failed:"+s.Name)
		}
	}
	return reasons
}

// sourcesOf are the sources of a service as they are now.
func (c *controller) sourcesOf(service string) (out []api.Source) {
	for _, s := range c.discovery.Status(service) {
		one := api.Source{
			Name: s.Name, Type: string(s.Type), Where: s.Where, State: string(s.State), Since: s.Since,
			Backends: s.Backends, Error: s.Error, Warnings: s.Warnings,
		}
		if !s.Answered.IsZero() {
			one.Answered = &s.Answered
		}
		out = append(out, one)
	}
	return out
}

// discoveryWarnings are what was left out of answers.
func (c *controller) discoveryWarnings(services []model.Service) (out []string) {
	for _, s := range services {
		out = append(out, c.discovery.Warnings(s.Name)...)
	}
	return out
}

package discovery

import (
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// State is how a source is.
type State string

// The states of a source.
const (
	// Waiting has neither answered nor failed yet. What it found before a
	// restart or a change of its definition is in use.
	Waiting State = "waiting"
	// OK answered last.
	OK State = "ok"
	// Failing failed last; its last answer is in use.
	Failing State = "failing"
	// Stale has failed for longer than its stale_for; nothing of it is in use.
	Stale State = "stale"
)

// Status is how a source is and what it found.
type Status struct {
	Name string
	Type model.SourceType
	// Where says what is watched, in words.
	Where string
	State State
	// Since is when State was entered.
	Since time.Time
	// Answered is when the last good answer came; zero if none has.
	Answered time.Time
	// Backends is how many of its backends are in use, those left out included.
	Backends int
	// Error is why it fails; empty if it does not.
	Error string
	// Warnings are what of the last answer could not be understood.
	Warnings []string
}

// Status returns the sources of a service in the order of its configuration.
func (m *Manager) Status(service string) []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.services[service]
	if s == nil {
		return nil
	}
	out := make([]Status, 0, len(s.service.Sources))
	for _, definition := range s.service.Sources {
		w := s.workers[definition.Name]
		out = append(out, Status{
			Name: definition.Name, Type: definition.Type, Where: w.source.String(), State: w.state, Since: w.since,
			Answered: w.at, Backends: len(w.answer), Error: w.err, Warnings: w.warnings,
		})
	}
	return out
}

// Warnings returns what was left out when the backends of a service were
// joined; [Manager.Take] finds it out.
func (m *Manager) Warnings(service string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.services[service]; s != nil {
		return s.warnings
	}
	return nil
}

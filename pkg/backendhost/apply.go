package backendhost

import (
	"errors"
	"fmt"
	"os"
	"slices"
)

// ErrNoConfig is returned if there is neither a configuration given nor one
// that was applied before.
var ErrNoConfig = errors.New("nothing says what this host is to be prepared for")

// Result is what Apply did.
type Result struct {
	Config *Config `json:"config"`
	// Changed are the changes, in words; none if all was right.
	Changed []string `json:"changed"`
	// Tunnel is nil without one.
	Tunnel *Tunnel `json:"tunnel,omitempty"`
}

// Tunnel is how outer headers are taken off.
type Tunnel struct {
	// Hook is xdp native, xdp generic, tcx or clsact.
	Hook string `json:"hook"`
	Why  string `json:"why"`
}

// Apply prepares this host. A nil configuration is the one applied last. If a
// step fails, what was there before the call is brought back.
func Apply(c *Config, d Dirs) (Result, error) {
	held, err := lock(d.State)
	if err != nil {
		return Result{}, err
	}
	defer held.Close()
	s, err := load(d)
	if err != nil {
		return Result{}, err
	}
	if c, err = complete(c, s); err != nil {
		return Result{}, err
	}
	list, err := items(c, s)
	if err == nil {
		err = unobstructed(list)
	}
	if err != nil {
		return Result{}, err
	}
	before := s.Config
	changed, err := s.reconcile(c, list)
	if err != nil {
		return Result{}, errors.Join(err, s.revert(before))
	}
	return Result{Config: c, Changed: nonNil(changed), Tunnel: s.tunnel()}, nil
}

// complete fills in what the configuration leaves to choose.
func complete(c *Config, s *state) (*Config, error) {
	if c == nil {
		c = s.Config
	}
	if c == nil {
		return nil, fmt.Errorf("%w: %s does not exist", ErrNoConfig, s.dirs.file())
	}
	if err := c.Normalise(); err != nil {
		return nil, err
	}
	if c.Interface == "" {
		var err error
		if c.Interface, err = chooseInterface(c); err != nil {
			return nil, err
		}
	}
	_, err := findInterface(c.Interface)
	return c, err
}

// unobstructed finds what only the operator may mend, before anything is
// touched.
func unobstructed(list []item) error {
	for _, i := range list {
		p, err := i.look()
		if err != nil {
			return err
		}
		if p != nil && p.byHand {
			return fmt.Errorf("%s (mend it: %s)", p.What, p.Mend)
		}
	}
	return nil
}

// reconcile undoes what c does not need and puts right what it needs, which is
// the list.
func (s *state) reconcile(c *Config, list []item) ([]string, error) {
	var needed []string
	for _, i := range list {
		needed = append(needed, i.keys()...)
	}
	changed, err := s.undo(func(key string) bool { return !slices.Contains(needed, key) })
	if err != nil {
		return changed, err
	}
	for _, i := range list {
		done, err := s.mend(i)
		changed = append(changed, done...)
		if err != nil {
			return changed, err
		}
	}
	s.Config = c
	return changed, s.save()
}

// mend puts one item right, in as many steps as it takes.
func (s *state) mend(i item) ([]string, error) {
	const mostSteps = 3
	var done []string
	for range mostSteps {
		p, err := i.look()
		if p == nil || err != nil {
			return done, err
		}
		r, err := i.record()
		if err == nil {
			r, err = s.note(r)
		}
		if err != nil {
			return done, err
		}
		text, err := i.put(r)
		if err != nil {
			return done, err
		}
		done = append(done, text)
		if err := s.save(); err != nil {
			return done, err
		}
	}
	p, err := i.look()
	if p != nil {
		err = fmt.Errorf("it stays wrong after it was put right (does something else set it?): %s", p.What)
	}
	return done, err
}

// revert brings back what was there before a failure: what the configuration
// before needs, or without one what was there at first.
func (s *state) revert(before *Config) error {
	if before == nil {
		if _, err := s.undo(func(string) bool { return true }); err != nil {
			return fmt.Errorf("undo the steps before: %w (see %s)", err, s.dirs.file())
		}
		return s.remove()
	}
	list, err := items(before, s)
	if err == nil {
		_, err = s.reconcile(before, list)
	}
	if err != nil {
		return fmt.Errorf("bring back what was applied before: %w (`xlb backend-host --undo` brings back the host's own)", err)
	}
	return nil
}

// tunnel is what the record of the hook says.
func (s *state) tunnel() *Tunnel {
	if r := s.find(hookKey); r != nil {
		return &Tunnel{r.Hook.Hook, r.Hook.Why}
	}
	return nil
}

// Undo brings back what was there before the first Apply, and says what it did.
func Undo(d Dirs) ([]string, error) {
	if _, err := os.Stat(d.State); errors.Is(err, os.ErrNotExist) {
		return []string{}, nil
	}
	held, err := lock(d.State)
	if err != nil {
		return nil, err
	}
	defer held.Close()
	s, err := load(d)
	if err != nil {
		return nil, err
	}
	done, err := s.undo(func(string) bool { return true })
	if err == nil {
		err = s.remove()
	}
	return nonNil(done), err
}

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

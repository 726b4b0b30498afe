package control

import (
	"context"
	"fmt"
	gomaps "maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/rules"
)

// unreadable is what was wrong with a file that was to be read again, and which
// state of it that was.
type unreadable struct {
	text     string
	modified time.Time
	size     int64
}

// watchNetworks reads the files that rules name again when they change. What is
// wrong with one leaves in force what it held before. Directories are watched, as
// for the configuration; and in case an event gets lost, or none comes from where a
// file lives, the files are looked at every now and then.
func (c *controller) watchNetworks(ctx context.Context) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		c.log.Warn("cannot watch the files of rules; they are looked at from time to time", "every", c.timing.drift, "error", err)
		watcher = &fsnotify.Watcher{} // its channels are nil: nothing ever comes
	} else {
		defer watcher.Close()
	}
	quiet := time.NewTimer(0)
	defer quiet.Stop()
	again := time.NewTicker(c.timing.drift)
	defer again.Stop()
	var since time.Time // the first event that was not looked at; zero: none
	later := func() {
		if since.IsZero() {
			since = time.Now()
		}
		// Where something is written all the time it is never quiet.
		if time.Since(since) < 20*c.timing.debounce {
			quiet.Reset(c.timing.debounce)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.networksUsed:
			quiet.Reset(0)
		case <-again.C:
			quiet.Reset(0)
		case <-watcher.Events:
			later()
		case <-watcher.Errors: // events may be lost
			later()
		case <-quiet.C:
			since = time.Time{}
			c.rereadNetworks(ctx, func(dir string) {
				if err == nil {
					_ = watcher.Add(dir) // one that is not there is seen when its file is looked at
				}
			})
		}
	}
}

// rereadNetworks looks at all files in use and reads those that changed.
func (c *controller) rereadNetworks(ctx context.Context, watch func(dir string)) {
	var cfg *model.Config
	var failed map[string]unreadable
	if c.ask(ctx, func() { cfg, failed = c.cfg, gomaps.Clone(c.unreadable) }) != nil {
		return // the daemon ends
	}
	for _, path := range slices.Sorted(gomaps.Keys(cfg.Networks)) {
		watch(filepath.Dir(path))
		if real, err := filepath.EvalSymlinks(path); err == nil {
			watch(filepath.Dir(real))
		}
		had := cfg.Networks[path]
		before, wrong := failed[path]
		if !wrong {
			before = unreadable{modified: had.Modified, size: had.Size}
		}
		now := unreadable{}
		info, err := os.Stat(path)
		if err == nil {
			now.modified, now.size = info.ModTime(), info.Size()
		}
		if now.modified.Equal(before.modified) && now.size == before.size && (err == nil || wrong) {
			continue
		}
		n, err := rules.Read(path)
		if err == nil {
			err = tryNetworks(cfg, path, n)
		}
		if err != nil {
			now.text = err.Error()
			c.log.Error("a file of rules is wrong; what it held before stays in force", "file", path, "error", err)
		} else {
			c.log.Info("a file of rules changed", "file", path, "prefixes", n.Len(), "before", had.Len())
		}
		c.post(func() { c.haveNetworks(path, n, now) })
	}
}

// tryNetworks refuses a file with which the rules of a service come to too much.
func tryNetworks(cfg *model.Config, path string, n *model.Networks) error {
	files := gomaps.Clone(cfg.Networks)
	files[path] = n
	tried := map[string]bool{}
	for _, s := range cfg.Services {
		key := rulesKey(s.Rules)
		if tried[key] || !slices.Contains(s.Rules.Files(), path) {
			continue
		}
		tried[key] = true
		if _, err := rules.Compile(s.Rules, files); err != nil {
			return fmt.Errorf("service %q: %w", s.Name, err)
		}
	}
	return nil
}

// haveNetworks takes what was read of a file, or that nothing could be.
func (c *controller) haveNetworks(path string, n *model.Networks, now unreadable) {
	if c.cfg.Networks[path] == nil {
		return // no longer named
	}
	if now.text != "" {
		c.unreadable[path] = now
		c.publish()
		return
	}
	delete(c.unreadable, path)
	cfg := *c.cfg
	cfg.Networks = gomaps.Clone(cfg.Networks)
	cfg.Networks[path] = n
	c.cfg = &cfg
	for _, s := range cfg.Services {
		if slices.Contains(s.Rules.Files(), path) {
			c.touch(s.Name)
		}
	}
}

// adoptNetworks takes those of a configuration, which has just read them.
func (c *controller) adoptNetworks() {
	clear(c.unreadable)
	select {
	case c.networksUsed <- struct{}{}:
	default:
	}
}

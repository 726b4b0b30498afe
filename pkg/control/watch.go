package control

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watchFile reloads the configuration whenever the file's content changes. It
// watches directories: editors and Kubernetes replace the file, or a link on
// the way to it, and a watch on the file would stay with the old one.
func (c *controller) watchFile(ctx context.Context) {
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		defer watcher.Close()
		err = watcher.Add(filepath.Dir(c.configPath))
	}
	if err != nil {
		c.log.Warn("cannot watch the configuration file; use `xlb reload` after a change", "error", err)
		return
	}
	c.fingerprint(watcher)
	seen := c.loaded
	quiet := time.NewTimer(0) // the file may have changed since it was loaded
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-watcher.Events:
			if !ok {
				return
			}
			quiet.Reset(c.timing.debounce)
		case err := <-watcher.Errors:
			c.log.Warn("watching the configuration file", "error", err)
			quiet.Reset(c.timing.debounce) // events may be lost
		case <-quiet.C:
			now := c.fingerprint(watcher)
			if now == seen {
				continue
			}
			seen = now
			_ = c.Reload(ctx) // logged, and kept in the status
		}
	}
}

// fingerprint identifies the file's content, and watches where it is now.
func (c *controller) fingerprint(watcher *fsnotify.Watcher) string {
	if real, err := filepath.EvalSymlinks(c.configPath); err == nil {
		_ = watcher.Add(filepath.Dir(real)) // a directory that is watched already is no error
	}
	return fingerprintOf(c.configPath)
}

func fingerprintOf(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return "unreadable: " + err.Error()
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

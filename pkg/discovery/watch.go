package discovery

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watchQuiet is how long nothing may happen to files before they are read: an
// editor writes in several steps.
const watchQuiet = 50 * time.Millisecond

// maxLinks is where the kernel, too, takes symbolic links for a circle.
const maxLinks = 40

// pathWatch hears of changes of what a path leads to. It watches directories:
// files are replaced by renaming, and so are links on the way to them, and a
// watch on the file itself would stay with the old one.
type pathWatch struct {
	path    string
	watcher *fsnotify.Watcher
}

func watchPath(path string) (*pathWatch, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w (fs.inotify.max_user_instances may be too low)", path, err)
	}
	w := &pathWatch{absolute, watcher}
	w.follow()
	return w, nil
}

func (w *pathWatch) close() { w.watcher.Close() }

// follow watches the way to the path as it is now, and no other. What cannot be
// watched is read now and then all the same.
func (w *pathWatch) follow() {
	dirs := directoriesTo(w.path)
	for _, dir := range w.watcher.WatchList() {
		if !slices.Contains(dirs, dir) {
			_ = w.watcher.Remove(dir) // it may be gone by itself
		}
	}
	for _, dir := range dirs {
		_ = w.watcher.Add(dir) // one that is watched already is no error
	}
}

// wait returns when something has happened on the way to the path and all has
// been quiet since; after most if nothing has; and when ctx ends.
func (w *pathWatch) wait(ctx context.Context, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	busy := false
	limit := time.Now().Add(most)
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-w.watcher.Events:
			if !open {
				return
			}
			busy = true
		case <-w.watcher.Errors: // events may be lost
			busy = true
		case <-timer.C:
			w.follow()
			return
		}
		if busy {
			timer.Reset(max(0, min(watchQuiet, time.Until(limit))))
		}
	}
}

// directoriesTo returns the directories in which a change can change what path
// leads to: that of the file, the directory that the path is, and that of each
// symbolic link on the way. Where the way ends early, the last one there is.
func directoriesTo(path string) []string {
	var dirs []string
	at, rest := "/", strings.Split(strings.Trim(path, "/"), "/")
	for links := 0; len(rest) > 0 && links <= maxLinks; {
		next := filepath.Join(at, rest[0])
		info, err := os.Lstat(next)
		if err != nil {
			return append(dirs, at)
		}
		if info.Mode()&os.ModeSymlink == 0 {
			if len(rest) == 1 && !info.IsDir() {
				return append(dirs, at)
			}
			at, rest = next, rest[1:]
			continue
		}
		dirs = append(dirs, at)
		target, err := os.Readlink(next)
		if err != nil {
			return dirs
		}
		links++
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(strings.Trim(filepath.Clean(target), "/"), "/"), rest[1:]...)
	}
	return append(dirs, at)
}

package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/pkg/model"
)

// live is a manager of one real source of a service called web.
type live struct {
	*Manager
	t     *testing.T
	known string
}

func newLive(t *testing.T, source model.Source) *live {
	t.Helper()
	source.Name, source.OnEmpty = "s", model.EmptyKeep
	source.Backend.Weight = 1
	source.Backend.Address = base.Address
	l := &live{t: t, Manager: NewManager(Options{MinBackoff: 10 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})}
	t.Cleanup(l.Close)
	web := service("web", nil)
	web.Sources = []model.Source{source}
	l.Apply([]model.Service{web})
	return l
}

// until waits until the backends are these addresses, and the source's error
// holds text, or is none if text is empty.
func (l *live) until(addresses, text string) Status {
	l.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		for _, u := range l.Take() {
			var words []string
			for _, b := range u.Backends {
				words = append(words, fmt.Sprintf("%s=%d", b.Address, b.Weight))
			}
			l.known = strings.Join(words, " ")
		}
		s := l.Status("web")[0]
		if l.known == addresses && (s.Error == "") == (text == "") && strings.Contains(s.Error, text) && s.State != Waiting {
			return s
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("backends %q, status %+v; want %q and error %q", l.known, s, addresses, text)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fileAt(path string) model.Source {
	return model.Source{Type: model.SourceFile, File: model.FileSource{Path: path}}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "web.yaml")
	l := newLive(t, fileAt(path))
	l.until("", "no such file")
	write(t, path, "- 10.0.0.1\n- {address: 10.0.0.2:81, weight: 3}\n")
	l.until("10.0.0.1:8080=1 10.0.0.2:81=3", "")
	write(t, path, "- 10.0.0.1\n- [\n")
	l.until("10.0.0.1:8080=1 10.0.0.2:81=3", path+":2: not YAML")
	write(t, path, "- 10.0.0.1\n- ten\n")
	s := l.until("10.0.0.1:8080=1", "")
	same(t, "warnings", s.Warnings, []string{path + `:2: "ten" is not an address with or without a port; this backend is left out`})
	must(t, os.Remove(path))
	l.until("10.0.0.1:8080=1", "no such file")
	// As one replaces a file.
	write(t, path+".new", "- 10.0.0.3\n")
	must(t, os.Rename(path+".new", path))
	l.until("10.0.0.3:8080=1", "")
	write(t, path, "[]\n")
	l.until("10.0.0.3:8080=1", "answered that there are no backends")
	write(t, path, "")
	l.until("10.0.0.3:8080=1", path+": empty")
	must(t, os.RemoveAll(dir))
	must(t, os.Mkdir(dir, 0o755))
	write(t, path, "- 10.0.0.4\n")
	l.until("10.0.0.4:8080=1", "")
}

// TestFileDirectory: the files of a directory count together, and one that is
// broken keeps the last answer of all.
func TestFileDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "late", "backends")
	l := newLive(t, fileAt(dir))
	l.until("", "no such file")
	must(t, os.MkdirAll(dir, 0o755))
	write(t, filepath.Join(dir, "b.json"), `["10.0.0.2"]`)
	write(t, filepath.Join(dir, "a.yaml"), "backends: [10.0.0.1]\n")
	write(t, filepath.Join(dir, "c.yml"), "- 10.0.0.3\n")
	write(t, filepath.Join(dir, "README"), "not read")
	write(t, filepath.Join(dir, ".hidden.yaml"), "not read")
	l.until("10.0.0.1:8080=1 10.0.0.2:8080=1 10.0.0.3:8080=1", "")
	write(t, filepath.Join(dir, "b.json"), `["10.0.0.2",`)
	l.until("10.0.0.1:8080=1 10.0.0.2:8080=1 10.0.0.3:8080=1", "b.json:1: the document ends in the middle")
	write(t, filepath.Join(dir, "a.yaml"), "backends: 7\n")
	l.until("10.0.0.1:8080=1 10.0.0.2:8080=1 10.0.0.3:8080=1", "a.yaml:1: backends must be a list; "+filepath.Join(dir, "b.json")+":1: the document ends in the middle")
	write(t, filepath.Join(dir, "a.yaml"), "- 10.0.0.1\n")
	must(t, os.Remove(filepath.Join(dir, "b.json")))
	l.until("10.0.0.1:8080=1 10.0.0.3:8080=1", "")
}

// TestFileConfigMap: Kubernetes swaps a link to the directory in which the
// files are that the visible names link to.
func TestFileConfigMap(t *testing.T) {
	dir := t.TempDir()
	version := func(n int, text string) {
		t.Helper()
		real := filepath.Join(dir, fmt.Sprintf("..version-%d", n))
		must(t, os.Mkdir(real, 0o755))
		write(t, filepath.Join(real, "web.yaml"), text)
		must(t, os.Symlink(filepath.Base(real), filepath.Join(dir, "..data_tmp")))
		must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
		if n > 1 {
			must(t, os.RemoveAll(filepath.Join(dir, fmt.Sprintf("..version-%d", n-1))))
		}
	}
	version(1, "- 10.0.0.1\n")
	must(t, os.Symlink("..data/web.yaml", filepath.Join(dir, "web.yaml")))
	file, directory := newLive(t, fileAt(filepath.Join(dir, "web.yaml"))), newLive(t, fileAt(dir))
	// A link elsewhere that leads there, and is swapped itself.
	other := t.TempDir()
	must(t, os.Symlink(dir, filepath.Join(other, "current")))
	linked := newLive(t, fileAt(filepath.Join(other, "current", "web.yaml")))
	for _, l := range []*live{file, directory, linked} {
		l.until("10.0.0.1:8080=1", "")
	}
	for n := 2; n < 5; n++ {
		version(n, fmt.Sprintf("- 10.0.0.%d\n", n))
		for _, l := range []*live{file, directory, linked} {
			l.until(fmt.Sprintf("10.0.0.%d:8080=1", n), "")
		}
	}
	write(t, filepath.Join(other, "web.yaml"), "- 10.0.0.9\n")
	must(t, os.Symlink(".", filepath.Join(other, "next")))
	must(t, os.Rename(filepath.Join(other, "next"), filepath.Join(other, "current")))
	linked.until("10.0.0.9:8080=1", "")
	file.until("10.0.0.4:8080=1", "")
}

// TestWatchFollows: of links that are swapped, as a deploy does that keeps its old
// releases, the present one alone is watched.
func TestWatchFollows(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	current := filepath.Join(dir, "current")
	w, err := watchPath(filepath.Join(current, "web.yaml"))
	must(t, err)
	defer w.close()
	for n := range 5 {
		release := filepath.Join(dir, fmt.Sprint("release-", n))
		must(t, os.Mkdir(release, 0o755))
		write(t, filepath.Join(release, "web.yaml"), "[]")
		must(t, os.Symlink(release, current+".new"))
		must(t, os.Rename(current+".new", current))
		w.follow()
		got := w.watcher.WatchList()
		slices.Sort(got)
		if want := []string{dir, release}; !slices.Equal(got, want) {
			t.Errorf("watched are %q, want %q", got, want)
		}
	}
}

func TestDirectoriesTo(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	at := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	must(t, os.MkdirAll(at("a", "b"), 0o755))
	write(t, at("a", "b", "f"), "")
	must(t, os.Symlink("../a/b", at("a", "up")))
	must(t, os.Symlink(at("a"), at("abs")))
	must(t, os.Symlink("loop", at("loop")))
	for path, want := range map[string][]string{
		at("a", "b", "f"):      {at("a", "b")},
		at("a", "b"):           {at("a", "b")},
		at("a", "x", "y"):      {at("a")},
		at("abs", "up", "f"):   {dir, at("a"), at("a", "b")},
		at("abs", "up", "new"): {dir, at("a"), at("a", "b")},
	} {
		if got := directoriesTo(path); !slices.Equal(got, want) {
			t.Errorf("directories to %s: %q, want %q", path, got, want)
		}
	}
	if got := directoriesTo(at("loop")); len(got) < maxLinks || len(got) > maxLinks+2 {
		t.Errorf("a circle of links leads to %d directories", len(got))
	}
}

// fifo makes a named pipe, which nobody writes.
func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo.yaml")
	must(t, unix.Mkfifo(path, 0o600))
	return path
}

// TestFileTooLarge: a source does not read what may have no end.
func TestFileTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.yaml")
	f, err := os.Create(path)
	must(t, err)
	must(t, f.Truncate(1<<40))
	must(t, f.Close())
	err = newFile(fileAt(path)).Run(t.Context(), func([]model.Backend, ...string) { t.Error("it answered") })
	if err == nil || err.Error() != path+": larger than 16 MiB" {
		t.Error(err)
	}
	for _, path := range []string{"/dev/zero", fifo(t)} {
		err = newFile(fileAt(path)).Run(t.Context(), func([]model.Backend, ...string) { t.Error("it answered") })
		if err == nil || err.Error() != path+" is no regular file" {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	write(t, path, "[10.0.0.1]")
	answers := 0
	must(t, newFile(fileAt(path)).Run(ctx, func([]model.Backend, ...string) { answers++ }))
	if answers > 1 {
		t.Errorf("%d answers after the end", answers)
	}
}

package policy

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestCache: what was compiled is there at the next start.
func TestCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	count := func() int {
		files, err := filepath.Glob(dir + "/*/*")
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	for range 2 {
		r, err := NewRuntime(context.Background(), Options{CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		p := load(t, r, "guest", number(1))
		if v, err := worker(t, p).Flow(from(9)); err != nil || v.Action != ActionDrop {
			t.Errorf("%+v %v", v, err)
		}
		if n := count(); n != 2 {
			t.Errorf("%d files in the cache, want one for each runtime", n)
		}
		p.Close(context.Background())
		r.Close(context.Background())
	}
}

// TestCacheOfOthers: what others can write is not run.
func TestCacheOfOthers(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := NewRuntime(context.Background(), Options{CacheDir: dir})
	wants(t, err, dir+", may be written by others")
	_, err = NewRuntime(context.Background(), Options{CacheDir: write(t, dir, "file", nil)})
	wants(t, err, "cannot make the cache of compiled policies")
}

// TestRefresh: instances are told the time anew before their next call.
func TestRefresh(t *testing.T) {
	wall := time.Unix(1000, 0)
	r := newRuntime(t, Options{Clock: func() time.Time { return wall }})
	p := load(t, r, "guest", "")
	w := worker(t, p)
	if v, err := w.Flow(from(3)); err != nil || v.Operand != 1000 {
		t.Errorf("%+v %v", v, err)
	}
	wall = time.Unix(5000, 0)
	r.refresh()
	if v, err := w.Flow(from(3)); err != nil || v.Operand != 5000 {
		t.Errorf("%+v %v", v, err)
	}
	p.Close(t.Context())
	if len(r.policies) != 0 {
		t.Error("a closed policy is still known")
	}
}

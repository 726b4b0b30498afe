package policybuild

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWithHash(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"module: a.wasm\nsha256: 00ff # of the module\nabi: 1\n", "module: a.wasm\nsha256: NEW # of the module\nabi: 1\n"},
		{"module: a.wasm\nsha256: \"00 ff\"\n", "module: a.wasm\nsha256: NEW\n"},
		{"module: a.wasm\nsha256: ''", "module: a.wasm\nsha256: NEW"},
		{"module: a.wasm\nsha256:\nabi: 1\n", "module: a.wasm\nsha256: NEW\nabi: 1\n"},
		{"# head\nmodule: a.wasm # built\n\nabi: 1", "# head\nmodule: a.wasm # built\nsha256: NEW\n\nabi: 1"},
		{"# sha256: of old\nmodule: a.wasm\nconfig:\n  sha256: x\n", "# sha256: of old\nmodule: a.wasm\nsha256: NEW\nconfig:\n  sha256: x\n"},
	} {
		got, err := withHash([]byte(c.text), "NEW")
		if err != nil || string(got) != c.want {
			t.Errorf("%q becomes %q (%v), want %q", c.text, got, err, c.want)
		}
	}
	if got, err := withHash([]byte("{module: a.wasm}"), "NEW"); err == nil {
		t.Errorf("a manifest on one line becomes %q", got)
	}
}

func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(path, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	info, _ := os.Stat(path)
	if string(data) != "new" || err != nil || info.Mode() != 0o640 {
		t.Errorf("%q, %v, mode %v", data, err, info.Mode())
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("left behind: %v", list)
	}
}

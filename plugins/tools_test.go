package plugins

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// toolchain is what modules of a language are built with.
type toolchain struct {
	// version is a command that prints the version, pinned is in what it prints where
	// modules come out as committed.
	version []string
	pinned  string
	// files must be there besides.
	files []string
}

const asc = "sdk/assemblyscript/node_modules/.bin/asc"

var toolchains = map[string]toolchain{
	"assemblyscript": {version: []string{asc, "--version"}, pinned: "Version 0.27.37\n"},
	// Debian's clang runs the linker of its own version.
	"c":    {version: []string{"clang-19", "--version"}, pinned: " 19.1.7 ", files: []string{"/usr/bin/wasm-ld-19"}},
	"go":   {version: []string{"go", "version"}, pinned: " go1.26.8 "},
	"rust": {version: []string{rustc(), "--version"}, pinned: "rustc 1.63.0\n"},
}

// rustc is the first one that compiles to WebAssembly.
func rustc() string {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/bin") {
		path := filepath.Join(dir, "rustc")
		root, err := exec.Command(path, "--print", "sysroot").Output()
		if err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(strings.TrimSpace(string(root)), "lib/rustlib/wasm32-unknown-unknown")); err == nil {
			return path
		}
	}
	return "rustc"
}

// need skips the test if modules of the language cannot be built here.
func need(t *testing.T, lang string) {
	t.Helper()
	needVersion(t, lang, "")
}

// needPinned skips the test if modules of the language are built here by tools of
// other versions than the committed ones.
func needPinned(t *testing.T, lang string) {
	t.Helper()
	needVersion(t, lang, toolchains[lang].pinned)
}

func needVersion(t *testing.T, lang, want string) {
	t.Helper()
	tools := toolchains[lang]
	for _, f := range tools.files {
		if _, err := os.Stat(f); err != nil {
			t.Skipf("%s is not there (make plugins installs it)", f)
		}
	}
	got, err := exec.Command(tools.version[0], tools.version[1:]...).Output()
	if err != nil {
		t.Skipf("%s: %v (make plugins installs it)", strings.Join(tools.version, " "), err)
	}
	if !strings.Contains(string(got), want) {
		t.Skipf("this is %q, the committed modules were built with %q", strings.TrimSpace(string(got)), strings.TrimSpace(want))
	}
}

// build runs a manifest's command in dir. The module is written to out.
func build(t *testing.T, dir string, argv []string, out string) {
	t.Helper()
	argv = append([]string(nil), argv...)
	for i := range argv {
		argv[i] = strings.ReplaceAll(argv[i], "{out}", out)
	}
	switch argv[0] {
	case "rustc":
		argv[0] = rustc()
	case "clang":
		argv[0] = "clang-19"
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, text)
	}
}

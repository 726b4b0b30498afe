package policybuild

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// path puts programs of a shell script each into a directory that alone is searched.
func path(t *testing.T, programs map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, script := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	return dir
}

func TestNewestClang(t *testing.T) {
	dir := path(t, map[string]string{"clang-9": "", "clang-19": "", "clang-cpp-20": "", "clang-20x": ""})
	if err := os.WriteFile(filepath.Join(dir, "clang-30"), nil, 0o600); err != nil { // no program
		t.Fatal(err)
	}
	if got, err := findTool(t.Context(), "clang"); got != filepath.Join(dir, "clang-19") || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	dir = path(t, map[string]string{"clang": "", "clang-19": ""})
	if got, err := findTool(t.Context(), "clang"); got != filepath.Join(dir, "clang") || err != nil {
		t.Errorf("%s, %v", got, err)
	}
}

// A machine may have a rustc that cannot build for WebAssembly before one that can.
func TestFindRustc(t *testing.T) {
	with, without := t.TempDir(), t.TempDir()
	if err := os.MkdirAll(filepath.Join(with, "lib/rustlib", rustTarget), 0o700); err != nil {
		t.Fatal(err)
	}
	first := path(t, map[string]string{"rustc": "echo " + without})
	_, err := findTool(t.Context(), "rustc")
	if err == nil || !strings.Contains(err.Error(), first+"/rustc has no standard library for wasm32-unknown-unknown (Debian packages") {
		t.Errorf("%v", err)
	}
	second := path(t, map[string]string{"rustc": "echo " + with})
	t.Setenv("PATH", strings.Join([]string{first, second}, ":"))
	if got, err := findTool(t.Context(), "rustc"); got != filepath.Join(second, "rustc") || err != nil {
		t.Errorf("%s, %v", got, err)
	}
}

func TestMissingTools(t *testing.T) {
	path(t, nil)
	for name, want := range map[string]string{
		"clang":   "clang is not installed (Debian package clang)",
		"wasm-ld": "wasm-ld is not installed (Debian package lld)",
		"rustc":   "rustc is not installed (Debian packages rustc, libstd-rust-dev-wasm32 and lld)",
		"npm":     "npm is not installed (Debian package npm)",
		"zig":     "zig is not installed",
	} {
		if got, err := findTool(t.Context(), name); err == nil || err.Error() != want || got != "" {
			t.Errorf("%s: %q, %v; want %s", name, got, err, want)
		}
	}
	if got, err := findTool(t.Context(), "./build.sh"); got != "./build.sh" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

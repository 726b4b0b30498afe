package policybuild

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// debianPackages are where Debian has the tools that builds call.
var debianPackages = map[string]string{
	"clang": "clang", "wasm-ld": "lld", "go": "golang-go", "npm": "npm", "npx": "npm",
	"wat2wasm": "wabt", "wasm-opt": "binaryen", "wasm-strip": "wabt", "make": "make",
}

// findTool returns the path of a program that builds call.
func findTool(ctx context.Context, name string) (string, error) {
	switch name {
	case "clang", "wasm-ld":
		if path := newest(name); path != "" {
			return path, nil
		}
	case "rustc":
		return findRustc(ctx)
	}
	if strings.ContainsRune(name, filepath.Separator) {
		return name, nil
	}
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	if p := debianPackages[name]; p != "" {
		return "", fmt.Errorf("%s is not installed (Debian package %s)", name, p)
	}
	return "", fmt.Errorf("%s is not installed", name)
}

// newest returns a tool by its name, else the newest of those that have their
// version behind it, as Debian's clang-19; empty if there is none.
func newest(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	best, version := "", 0
	for _, dir := range searchPath() {
		found, _ := filepath.Glob(filepath.Join(dir, name+"-*"))
		for _, path := range found {
			n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), name+"-"))
			if err != nil || n <= version {
				continue
			}
			if _, err := exec.LookPath(path); err == nil {
				best, version = path, n
			}
		}
	}
	return best
}

const rustTarget = "wasm32-unknown-unknown"

// findRustc returns the first compiler of the path that has the standard library
// for the target: a machine may have several.
func findRustc(ctx context.Context) (string, error) {
	without := ""
	for _, dir := range searchPath() {
		path, err := exec.LookPath(filepath.Join(dir, "rustc"))
		if err != nil {
			continue
		}
		root, err := exec.CommandContext(ctx, path, "--print", "sysroot").Output()
		if err != nil {
			continue
		}
		lib := filepath.Join(strings.TrimSpace(string(root)), "lib/rustlib", rustTarget)
		if _, err := os.Stat(lib); err == nil {
			return path, nil
		}
		without = path
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if without != "" {
		return "", fmt.Errorf("%s has no standard library for %s (Debian packages rustc and libstd-rust-dev-wasm32; with rustup: rustup target add %s)",
			without, rustTarget, rustTarget)
	}
	return "", fmt.Errorf("rustc is not installed (Debian packages rustc, libstd-rust-dev-wasm32 and lld)")
}

// searchPath is the path's directories that are named from the root.
func searchPath() []string {
	return slices.DeleteFunc(filepath.SplitList(os.Getenv("PATH")), func(dir string) bool { return !filepath.IsAbs(dir) })
}

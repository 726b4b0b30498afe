package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// needs skips a test where a program is missing.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}

func needsClang(t *testing.T) {
	t.Helper()
	versions, _ := filepath.Glob("/usr/bin/clang-[0-9]*")
	if _, err := exec.LookPath("clang"); err != nil && len(versions) == 0 {
		t.Skip("clang is not installed")
	}
}

// needsRust skips a test where no rustc has the standard library for WebAssembly.
func needsRust(t *testing.T) {
	t.Helper()
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		root, err := exec.Command(filepath.Join(dir, "rustc"), "--print", "sysroot").Output()
		if err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(strings.TrimSpace(string(root)), "lib/rustlib/wasm32-unknown-unknown")); err == nil {
			return
		}
	}
	t.Skip("no rustc has the target wasm32-unknown-unknown")
}

// A template of each language and hook is built, passes its vectors and answers a
// question.
func TestPolicyTemplates(t *testing.T) {
	for lang, prepare := range map[string]func(t *testing.T, dir string){
		"c":    func(t *testing.T, _ string) { needs(t, "wasm-ld"); needsClang(t) },
		"rust": func(t *testing.T, _ string) { needsRust(t) },
		"go":   func(t *testing.T, _ string) { needs(t, "go") },
		"assemblyscript": func(t *testing.T, dir string) {
			needs(t, "node", "npm")
			packages, err := filepath.Abs("../../plugins/sdk/assemblyscript/node_modules")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(packages); err != nil {
				t.Skip("AssemblyScript is not installed (npm ci in plugins/sdk/assemblyscript)")
			}
			if err := os.Symlink(packages, filepath.Join(dir, "node_modules")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, hook := range []string{"flow", "weigh", "probe"} {
			t.Run(lang+"/"+hook, func(t *testing.T) { tryTemplate(t, lang, hook, prepare) })
		}
	}
}

func tryTemplate(t *testing.T, lang, hook string, prepare func(*testing.T, string)) {
	dir := filepath.Join(t.TempDir(), "rule")
	written := lines(xlb(t, "policy", "new", "--lang", lang, "--hook", hook, "rule", dir).ok(t))
	if !slices.Contains(written, "wrote "+dir+"/policy.yaml") || written[len(written)-1] != "next: xlb policy build "+dir+" && xlb policy test "+dir {
		t.Errorf("%s", strings.Join(written, "\n"))
	}
	xlb(t, "policy", "new", "--lang", lang, "rule", dir).fails(t, exitUsage, "xlb: "+dir+" is not empty: file already exists")
	prepare(t, dir)
	if r := xlb(t, "policy", "build", dir); r.status != exitOK || !strings.HasPrefix(r.stdout, "built "+dir+"/rule.wasm: ") {
		t.Fatalf("build: %+v", r)
	}
	tested := xlb(t, "policy", "test", dir).ok(t)
	if !strings.Contains(tested, "\nrule: ") || !strings.HasSuffix(tested, " 0 failed\n") {
		t.Errorf("%s", tested)
	}
	i := decode[inspection](t, xlb(t, "policy", "inspect", dir, "--json").ok(t))
	if len(i.Hooks) != 1 || string(i.Hooks[0]) != hook || i.SHA256 != i.Manifest.SHA256 || i.Manifest.Language != lang {
		t.Errorf("%+v", i)
	}
	if hook != "flow" {
		return
	}
	same(t, lines(xlb(t, "policy", "run", dir, "--source", "192.0.2.7:4242", "--vip", "203.0.113.10:80").ok(t))[0], "continue")
	// A second build finds the hash right and leaves the manifest alone.
	manifest := filepath.Join(dir, "policy.yaml")
	before, err := os.ReadFile(manifest)
	if err != nil || !strings.Contains(string(before), "# Run by") {
		t.Errorf("the manifest's comments: %v\n%s", err, before)
	}
	if r := xlb(t, "policy", "build", dir, "--json"); r.status != exitOK || !strings.Contains(r.stdout, i.SHA256) {
		t.Errorf("the second build is not the same: %+v", r)
	}
	if after, _ := os.ReadFile(manifest); string(after) != string(before) {
		t.Errorf("the manifest changed:\n%s", after)
	}
}

func TestPolicyBuildFails(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte("name: x\nabi: 1\nmodule: x.wasm\nhooks: [flow]\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ manifest, want string }{
		{"", `: it does not say how to build x.wasm (build: [PROGRAM, ARGUMENT, ...], or language: assemblyscript|c|go|rust)`},
		{"build: [no-such-tool]", "no-such-tool is not installed"},
		{"build: [env, A=1]", ": build names no program"},
		{"build: [sh, -c, exit 3]", "the build failed: sh -c exit 3: exit status 3"},
		{"build: [sh, -c, 'true']", "the build did not write the module: open " + dir + "/x.wasm: no such file or directory"},
		{"build: [env, WORD=no, sh, -c, 'echo $WORD module > {out}']", "x.wasm"},
	} {
		write(c.manifest)
		r := xlb(t, "policy", "build", dir)
		if r.status != exitFailed || !strings.Contains(r.stderr, c.want) || r.stdout != "" {
			t.Errorf("%s: %+v", c.manifest, r)
		}
	}
	if data, _ := os.ReadFile(filepath.Join(dir, "x.wasm")); string(data) != "no module\n" {
		t.Errorf("%q", data)
	}
	// Without tools it is said where Debian has them.
	t.Setenv("PATH", t.TempDir())
	for build, want := range map[string]string{
		"[clang, x.c]":                  "clang is not installed (Debian package clang)",
		"[rustc, x.rs]":                 "rustc is not installed (Debian packages rustc, libstd-rust-dev-wasm32 and lld)",
		"[env, GOOS=wasip1, go, build]": "go is not installed (Debian package golang-go)",
		"[npm, run, build]":             "npm is not installed (Debian package npm)",
	} {
		write("build: " + build)
		xlb(t, "policy", "build", dir).fails(t, exitFailed, "xlb: "+want)
	}
}

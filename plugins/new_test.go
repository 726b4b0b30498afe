package plugins

import (
	"bytes"
	"go/format"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/xlb-io/xlb/pkg/policy"
	"github.com/xlb-io/xlb/pkg/policy/policytest"
)

// Every template is built by its own command, from nothing but its files, and
// answers as its vectors want. Templates of a hook have the same in all languages.
func TestNew(t *testing.T) {
	for _, lang := range Languages() {
		for _, hook := range Hooks() {
			t.Run(lang+" "+hook, func(t *testing.T) {
				dir := written(t, lang, hook)
				text, err := os.ReadFile(filepath.Join(dir, "policy.yaml"))
				if err != nil {
					t.Fatal(err)
				}
				var m manifest
				if err := yaml.Unmarshal(text, &m); err != nil {
					t.Fatal(err)
				}
				if m.Name != "my-rule.2_b" || m.Language != lang || !slices.Equal(m.Hooks, []string{hook}) {
					t.Errorf("the manifest says %+v", m)
				}
				need(t, lang)
				build(t, dir, m.Build, m.Module)
				answers(t, dir)
			})
		}
	}
}

func answers(t *testing.T, dir string) {
	t.Helper()
	b, err := policy.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	vectors, err := policytest.Load(filepath.Join(dir, b.Manifest.Tests))
	if err != nil {
		t.Fatal(err)
	}
	outcomes, err := policytest.Run(t.Context(), b, vectors)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outcomes {
		if !o.Passed {
			t.Errorf("%s: %s\n%s", o.Name, strings.Join(o.Differences, "; "), strings.Join(o.Log, "\n"))
		}
	}
}

var placeholder = regexp.MustCompile(`\{\{[a-z]+\}\}`)

// written is the directory of a new policy.
func written(t *testing.T, lang, hook string) string {
	t.Helper()
	files, err := New(lang, hook, "my-rule.2_b")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range files {
		if placeholder.Match(data) || strings.Contains(string(data), importPath) {
			t.Errorf("%s still has a placeholder", name)
		}
		if strings.HasSuffix(name, ".go") {
			if formatted, err := format.Source(data); err != nil || !bytes.Equal(formatted, data) {
				t.Errorf("%s is not formatted: %v", name, err)
			}
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if lang == "assemblyscript" {
		// What npm would fetch.
		modules, err := filepath.Abs("sdk/assemblyscript/node_modules")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct{ lang, hook, want string }{
		{"cobol", "flow", `language "cobol" (known: assemblyscript, c, go, rust)`},
		{"c", "flood", `hook "flood" (known: flow, weigh, probe)`},
	} {
		if _, err := New(c.lang, c.hook, "a"); err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%s %s: %v", c.lang, c.hook, err)
		}
	}
}

package policy

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/model"
)

const minimal = "name: a\nabi: 1\nmodule: a.wasm\n"

func TestManifest(t *testing.T) {
	b, err := Open("testdata/guest")
	if err != nil {
		t.Fatal(err)
	}
	m := b.Manifest
	m.Config = nil
	want := Manifest{
		Name: "guest", Version: "1.0", Description: "A policy with all hooks.", ABI: 1, Module: "guest.wasm",
		Hooks: []Hook{HookFlow, HookWeigh, HookProbe},
		Tables: []TableSpec{
			{Name: "clients", Kind: TableCIDR, Description: "who they are"}, {Name: "hosts", Kind: TableAddress}, {Name: "ports", Kind: TableInteger},
		},
		Subsets: []string{"canary", "stable"}, Counters: []string{"calls"}, Reasons: map[uint16]string{1: "on the list"},
		Fuel: 50000, Memory: 1 << 20,
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("%+v, want %+v", m, want)
	}
	if c := string(b.Manifest.Config); c != `{"additionalProperties":false,"properties":{"number":{"minimum":0,"type":"integer"}},"type":"object"}` {
		t.Errorf("the schema is %s", c)
	}
	if len(b.Imports) != 9 || b.Imports[4] != (Function{"xlb", "table_lookup", "(i32, i64, i64) -> i64"}) || len(b.Exports) != 7 {
		t.Errorf("imports %v, exports %v", b.Imports, b.Exports)
	}
	byFile, err := Open("testdata/guest/policy.yaml")
	if err != nil || byFile.SHA256 != b.SHA256 {
		t.Errorf("by its file: %v", err)
	}
}

func TestManifestErrors(t *testing.T) {
	tests := map[string][]string{
		"":                                {"f:1:1: a manifest is one document with a mapping"},
		"[]":                              {"f:1:1: must be a mapping of keys to values"},
		"name: a\n":                       {"f:1:1: abi is missing", "f:1:1: module is missing"},
		minimal + "fule: 1":               {`f:4:1: unknown key "fule" (known: abi, build, config, counters, description, fuel, hooks,`},
		minimal + "fuel: 0":               {`f:4:7: fuel: "0" is not a number from 1 to 100000000`},
		minimal + "fuel:":                 {`f:4:1: fuel has no value`},
		minimal + "memory: 1MB":           {`f:4:9: memory: "1MB" is no size from 64KiB to 1GiB in steps of 64KiB, like 1MiB`},
		minimal + "memory: 100":           {`memory: "100" is no size`},
		minimal + "memory: 2GiB":          {`memory: "2GiB" is no size`},
		minimal + "hooks: flow":           {"f:4:8: hooks: must be a list"},
		minimal + "hooks: []":             {"hooks: at least one of flow, weigh and probe"},
		minimal + "hooks: [flow, flaw]":   {`f:4:15: hooks: unknown "flaw" (known: flow, weigh, probe)`},
		minimal + "tables: [{name: x}]":   {"f:4:10: tables: kind is missing"},
		minimal + "tables: [{kind: z}]":   {`unknown "z" (known: cidr, address, integer)`, "name is missing"},
		minimal + "subsets: [a, a]":       {"f:4:14: subsets: a is there twice"},
		minimal + "counters: [A b]":       {`counters: "A b" is not 1 to 63 of a-z`},
		minimal + "reasons: {x: y}":       {`f:4:11: reasons: "x" is not a number from 0 to 65535`},
		minimal + "language: cobol":       {`unknown "cobol" (known: c, go, rust, assemblyscript)`},
		minimal + "tests: ../x":           {`tests: "../x" is not the name of a file beside the manifest`},
		minimal + "sha256: 12":            {`sha256: "12" is not 64 hexadecimal digits`},
		minimal + "name: b":               {"f:4:1: mapping key \"name\" already defined"},
		minimal + "version: *x":           {"version: must be one value"},
		"name: a\nabi: 2\nmodule: a":      {`f:2:6: abi: "2" is not 1`},
		"name: a/b\nabi: 1\nmodule: ..":   {`f:1:7: name: "a/b" is not`, `f:3:9: module: ".." is not the name of a file`},
		"a: \xff":                         {"not valid UTF-8"},
		"a: " + strings.Repeat("[", 1000): {"nested more than 64 levels deep"},
		"a: \"":                           {"f:1:"},
	}
	for text, want := range tests {
		_, err := ParseManifest("f", []byte(text))
		if err == nil {
			t.Errorf("%q: no error", text)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %v, want %q", text, err, w)
			}
		}
	}
}

// bundle writes a bundle with the module that has all hooks.
func bundle(t *testing.T, manifest string) string {
	t.Helper()
	dir := t.TempDir()
	module, err := os.ReadFile("testdata/guest/guest.wasm")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "a.wasm", module)
	write(t, dir, ManifestName, []byte(manifest))
	return dir
}

func TestOpenErrors(t *testing.T) {
	hash := strings.Repeat("0", 64)
	for manifest, want := range map[string]string{
		minimal + "sha256: " + hash:                      "a.wasm: the module's sha256 is 2",
		"name: a\nabi: 1\nmodule: b.wasm":                "b.wasm: no such file",
		minimal + "config: {type: objekt}":               "config: no valid JSON Schema: ",
		minimal + "config: {$ref: 'file:///etc/passwd'}": "file:///etc/passwd is outside of the manifest",
		minimal + "config: {$ref: other.json}":           "is outside of the manifest",
	} {
		_, err := Open(bundle(t, manifest))
		if err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(want, "2")) {
			t.Errorf("%q: %v, want %q", manifest, err, want)
		}
	}
	_, err := Open(filepath.Join(t.TempDir(), "missing"))
	wants(t, err, "no such file")
	_, err = Open(t.TempDir())
	wants(t, err, "policy.yaml: no such file")
}

// TestHooksListed: of a module that has more, the manifest's are asked.
func TestHooksListed(t *testing.T) {
	p, err := newRuntime(t, Options{}).Load(t.Context(), model.Policy{Name: "p", Path: bundle(t, minimal+"hooks: [weigh]\ntables: [{name: t, kind: cidr}]\ncounters: [c]\n")})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	_, err = p.NewWorker(t.Context())
	wants(t, err, `policy "p": flow: the policy has no such hook`)
	w := chainWorker(t)
	if d := w.Decide(NewChain(enforce(p)), from(1)); d != (Decision{}) {
		t.Errorf("%+v", d)
	}
	if s := p.Stats(); len(s.Hooks) != 1 || s.Instances != 1 {
		t.Errorf("%+v", s)
	}
}

// FuzzManifest: whatever the bytes, a manifest is read or its mistakes are told with
// their places.
func FuzzManifest(f *testing.F) {
	data, err := os.ReadFile("testdata/guest/policy.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(minimal + "reasons: {1: &a x, 2: *a}\nconfig: [~, 1.5, {true: .inf}]\n? memory\n: 1GiB\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest("f", data)
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "f:") {
					t.Errorf("a mistake without a place: %q", err)
					break
				}
			}
			return
		}
		if !validName.MatchString(m.Name) || m.ABI != ABI || filepath.Base(m.Module) != m.Module || m.Memory%page != 0 || m.Fuel > maxFuel {
			t.Errorf("%+v", m)
		}
	})
}

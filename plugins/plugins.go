// Package plugins holds what operators' policies are written with: a small SDK for
// each language, and templates to begin from. Beside it lie the sources of the
// bundles in policies/.
package plugins

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

//go:embed sdk/c/*.h sdk/rust/xlb/*.rs sdk/go/xlb
//go:embed sdk/assemblyscript/*.ts sdk/assemblyscript/package.json sdk/assemblyscript/package-lock.json
//go:embed templates
var files embed.FS

// FS returns the SDKs and templates, as they lie in this directory.
func FS() fs.FS { return files }

// language is what differs between languages.
type language struct {
	// sdk and its place in a policy's directory.
	sdk, beside string
	source      string
	// build is the manifest's command, needs what it takes to run it.
	build, needs string
	memory       string
}

var languages = map[string]language{
	"assemblyscript": {
		sdk: "sdk/assemblyscript", source: "policy.ts", needs: "node and npm", memory: "1MiB",
		build: `[npm, run, --silent, build, --, --outFile, "{out}"]`,
	},
	"c": {
		sdk: "sdk/c", source: "policy.c", needs: "clang and lld", memory: "1MiB",
		// Told to the driver, -O2 would run wasm-opt where there is one.
		build: `[clang, --target=wasm32, -std=c11, -Xclang, -O2, -Wall, -Wextra, -ffreestanding, -nostdlib, ` +
			`"-Wl,--no-entry,--strip-all,--stack-first,-z,stack-size=16384", -o, "{out}", policy.c]`,
	},
	"go": {
		sdk: "sdk/go/xlb", beside: "xlb", source: "main.go", needs: "Go 1.24 or later", memory: "16MiB",
		build: `[env, GOOS=wasip1, GOARCH=wasm, go, build, -trimpath, -buildvcs=false, -buildmode=c-shared, ` +
			`"-ldflags=-s -w -buildid=", -o, "{out}", .]`,
	},
	"rust": {
		sdk: "sdk/rust/xlb", beside: "xlb", source: "policy.rs", needs: "rustc with the target wasm32-unknown-unknown", memory: "1MiB",
		build: `[rustc, --edition, "2021", --target, wasm32-unknown-unknown, --crate-type, cdylib, ` +
			`-Copt-level=2, -Clto, -Ccodegen-units=1, -Cpanic=abort, -Cstrip=symbols, ` +
			`-Clink-arg=-zstack-size=32768, -Clink-arg=--stack-first, -o, "{out}", policy.rs]`,
	},
}

// Languages are those with an SDK, sorted.
func Languages() []string { return slices.Sorted(maps.Keys(languages)) }

// Hooks are those with a template in every language: what a policy is asked.
func Hooks() []string { return []string{"flow", "weigh", "probe"} }

// importPath is the SDK's for Go; a policy has a copy of its own.
const importPath = "github.com/xlb-io/xlb/plugins/sdk/go/xlb"

// New returns the files of a new policy by their names, with slashes. It needs
// nothing but the language's compiler to be built: the SDK is among them. The name
// is 1 to 63 of a-z, 0-9, '-', '.' and '_'.
func New(lang, hook, name string) (map[string][]byte, error) {
	l, known := languages[lang]
	if !known {
		return nil, fmt.Errorf("there is no template for the language %q (known: %s)", lang, strings.Join(Languages(), ", "))
	}
	if !slices.Contains(Hooks(), hook) {
		return nil, fmt.Errorf("there is no template for the hook %q (known: %s)", hook, strings.Join(Hooks(), ", "))
	}
	n := newPolicy{files: map[string][]byte{}, importPath: "example.com/" + name + "/xlb", placeholders: l.placeholders(lang, name)}
	for _, dir := range []string{"common", "common/" + hook, lang, lang + "/" + hook} {
		if err := n.template("templates/" + dir); err != nil {
			return nil, err
		}
	}
	return n.files, n.sdk(l.sdk, l.beside)
}

func (l language) placeholders(lang, name string) *strings.Replacer {
	sdk := l.beside + "/"
	if l.beside == "" {
		sdk = "xlb*"
	}
	return strings.NewReplacer("{{name}}", name, "{{language}}", lang, "{{build}}", l.build, "{{memory}}", l.memory,
		"{{needs}}", l.needs, "{{source}}", l.source, "{{sdk}}", sdk)
}

// newPolicy gathers the files of a policy.
type newPolicy struct {
	files        map[string][]byte
	importPath   string
	placeholders *strings.Replacer
}

// template adds the files of a directory, but not of those below.
func (n *newPolicy) template(dir string) error {
	list, err := files.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range list {
		if f.IsDir() {
			continue
		}
		data, err := files.ReadFile(dir + "/" + f.Name())
		if err != nil {
			return err
		}
		n.files[strings.TrimSuffix(f.Name(), ".tmpl")] = []byte(n.placeholders.Replace(string(data)))
	}
	return nil
}

// sdk adds all files below a directory.
func (n *newPolicy) sdk(dir, to string) error {
	return fs.WalkDir(files, dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(at, "_test.go") {
			return err
		}
		data, err := files.ReadFile(at)
		text := strings.ReplaceAll(string(data), importPath, n.importPath)
		n.files[path.Join(to, strings.TrimPrefix(at, dir+"/"))] = []byte(text)
		return err
	})
}

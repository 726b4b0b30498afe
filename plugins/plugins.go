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
		build: `[clang, --target=wasm32, -std=c11, -O2, -Wall, -Wextra, -ffreestanding, -nostdlib, ` +
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
	sdk := l.beside
	if sdk == "" {
		sdk = "xlb*"
	}
	replace := strings.NewReplacer("{{name}}", name, "{{language}}", lang, "{{build}}", l.build, "{{memory}}", l.memory,
		"{{needs}}", l.needs, "{{source}}", l.source, "{{sdk}}", sdk)
	out := map[string][]byte{}
	for _, copied := range []struct{ from, to string }{
		{"templates/common", ""}, {"templates/common/" + hook, ""},
		{"templates/" + lang, ""}, {"templates/" + lang + "/" + hook, ""}, {l.sdk, l.beside},
	} {
		inTemplate := strings.HasPrefix(copied.from, "templates")
		err := fs.WalkDir(files, copied.from, func(at string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && inTemplate && at != copied.from:
				return fs.SkipDir // of a hook
			case d.IsDir():
				return nil
			}
			data, err := files.ReadFile(at)
			if err != nil {
				return err
			}
			text := string(data)
			if inTemplate {
				text = replace.Replace(text)
			}
			text = strings.ReplaceAll(text, importPath, "example.com/"+name+"/xlb")
			to := strings.TrimSuffix(strings.TrimPrefix(at, copied.from+"/"), ".tmpl")
			out[path.Join(copied.to, to)] = []byte(text)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

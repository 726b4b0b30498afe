package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/xlb-io/xlb/pkg/policy/wasm"
)

// ABI is the version of the interface between a module and this package.
const ABI = 1

// Hook is a question that a module answers.
type Hook string

// The hooks.
const (
	// HookFlow is asked about each new flow.
	HookFlow Hook = "flow"
	// HookWeigh is asked about the weights of a service's backends.
	HookWeigh Hook = "weigh"
	// HookProbe is asked whether a backend is alive.
	HookProbe Hook = "probe"
)

// hooks are all of them, in the order of [Bundle.Hooks].
var hooks = []Hook{HookFlow, HookWeigh, HookProbe}

// Function is an import or an export of a module.
type Function struct {
	// Module is where an import comes from; empty for an export.
	Module string `json:"module,omitempty"`
	Name   string `json:"name"`
	// Type is written as "(i32, i64) -> i64".
	Type string `json:"type"`
}

// Bundle is a module with its manifest, as read from disk.
type Bundle struct {
	// Path is what was opened: a directory, a manifest or a module.
	Path     string
	Manifest Manifest
	// Module is the WebAssembly binary, and SHA256 its hash in hexadecimal.
	Module []byte
	SHA256 string
	// Hooks are those the module answers, in the order flow, weigh, probe.
	Hooks []Hook
	// Imports and Exports are its functions, in its own order.
	Imports, Exports []Function

	decoded *wasm.Module
	schema  *jsonschema.Schema
}

const maxManifest = 1 << 20

// Open reads the bundle at path: a directory with a policy.yaml, a manifest, or a
// module alone, which gets the manifest that its exports make up. It checks all
// that can be told without running the module: the manifest, the module's hash,
// its structure, imports and exports.
func Open(path string) (*Bundle, error) {
	b := &Bundle{Path: path}
	file := path
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		file = filepath.Join(path, ManifestName)
	}
	data, err := readFile(file, wasm.MaxSize)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(data, []byte("\x00asm")) {
		b.Manifest, b.Module = alone(file), data
	} else if err := b.readManifest(file, data); err != nil {
		return nil, err
	}
	if err := b.checkModule(); err != nil {
		return nil, fmt.Errorf("%s: %w", b.moduleFile(file), err)
	}
	return b, nil
}

// moduleFile is where the module is whose bundle was read from file.
func (b *Bundle) moduleFile(file string) string {
	return filepath.Join(filepath.Dir(file), b.Manifest.Module)
}

func (b *Bundle) readManifest(file string, data []byte) error {
	if len(data) > maxManifest {
		return fmt.Errorf("%s: the manifest is larger than 1 MiB (is this the right file?)", file)
	}
	m, err := ParseManifest(file, data)
	if err != nil {
		return err
	}
	b.Manifest = *m
	if b.schema, err = compileSchema(m.Config); err != nil {
		return fmt.Errorf("%s: config: %w", file, err)
	}
	b.Module, err = readFile(b.moduleFile(file), wasm.MaxSize)
	return err
}

// alone is the manifest of a module without one.
func alone(file string) Manifest {
	name := strings.ToLower(strings.TrimSuffix(filepath.Base(file), ".wasm"))
	name = regexp.MustCompile(`[^a-z0-9._-]+`).ReplaceAllString(name, "-")
	return Manifest{Name: name[:min(len(name), 63)], ABI: ABI, Module: filepath.Base(file)}
}

func (b *Bundle) checkModule() error {
	sum := sha256.Sum256(b.Module)
	b.SHA256 = hex.EncodeToString(sum[:])
	if want := b.Manifest.SHA256; want != "" && want != b.SHA256 {
		return fmt.Errorf("the module's sha256 is %s, its manifest says %s (was it built anew, or replaced?)", b.SHA256, want)
	}
	m, err := wasm.Decode(b.Module)
	if err != nil {
		return err
	}
	if err := checkInterface(m); err != nil {
		return err
	}
	b.decoded = m
	b.describe()
	return b.chooseHooks()
}

func (b *Bundle) describe() {
	for _, i := range b.decoded.Imports {
		b.Imports = append(b.Imports, Function{Module: i.Module, Name: i.Name, Type: i.Type.String()})
	}
	for _, e := range b.decoded.Exports {
		if e.Kind == wasm.KindFunc {
			b.Exports = append(b.Exports, Function{Name: e.Name, Type: e.Type.String()})
		}
	}
}

// chooseHooks takes those that the manifest lists, or all that are exported.
func (b *Bundle) chooseHooks() error {
	for _, h := range hooks {
		listed := b.Manifest.Hooks == nil || slices.Contains(b.Manifest.Hooks, h)
		if exported := b.exports(string(h)); listed && exported {
			b.Hooks = append(b.Hooks, h)
		} else if listed && b.Manifest.Hooks != nil {
			return fmt.Errorf("the manifest lists the hook %s, the module does not export it", h)
		}
	}
	if b.Manifest.Hooks == nil {
		b.Manifest.Hooks = b.Hooks
	}
	return nil
}

// Has says whether the module answers h.
func (b *Bundle) Has(h Hook) bool { return slices.Contains(b.Hooks, h) }

// exports says whether the module has the function called so.
func (b *Bundle) exports(name string) bool {
	return slices.ContainsFunc(b.Exports, func(f Function) bool { return f.Name == name })
}

// readFile reads a file of at most most bytes.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s: larger than %d MiB", path, most>>20)
	}
	return data, nil
}

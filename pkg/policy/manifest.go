package policy

import (
	"encoding/json"
	"regexp"
	"strings"
)

// ManifestName is the manifest's file in the directory of a bundle.
const ManifestName = "policy.yaml"

// Manifest is what a module's author says of it.
type Manifest struct {
	Name        string `json:"name"`
	Version     string `json:"version,omitempty"`
	Description string `json:"description,omitempty"`
	// ABI is the version it was written for; always [ABI].
	ABI int `json:"abi"`
	// Module is the module's file, beside the manifest.
	Module string `json:"module"`
	// SHA256 of the module in hexadecimal, if the manifest has it.
	SHA256 string `json:"sha256,omitempty"`
	// Language is c, go, rust or assemblyscript; empty: it does not say.
	Language string `json:"language,omitempty"`
	// Build is the command that builds the module in the manifest's directory; "{out}"
	// stands for the module's file.
	Build []string `json:"build,omitempty"`
	Hooks []Hook   `json:"hooks"`
	// Config is the JSON Schema (draft 2020-12) of the configuration; nil if there
	// is none.
	Config   json.RawMessage `json:"config,omitempty"`
	Tables   []TableSpec     `json:"tables,omitempty"`
	Subsets  []string        `json:"subsets,omitempty"`
	Counters []string        `json:"counters,omitempty"`
	// Reasons are texts for the numbers that verdicts carry.
	Reasons map[uint16]string `json:"reasons,omitempty"`
	// Fuel and Memory (bytes) are what the module needs; 0: the defaults.
	Fuel   uint64 `json:"fuel,omitempty"`
	Memory int    `json:"memory,omitempty"`
	// Tests is the file of test vectors, beside the manifest; empty if there is none.
	Tests string `json:"tests,omitempty"`
}

// TableKind is what the keys of a table are, and how they are looked up.
type TableKind string

// The kinds of tables.
const (
	// TableCIDR finds the longest prefix that holds an address.
	TableCIDR TableKind = "cidr"
	// TableAddress finds an address.
	TableAddress TableKind = "address"
	// TableInteger finds a number, 0 to 2^64-1.
	TableInteger TableKind = "integer"
)

// TableSpec is a look-up table that a module asks by its place in the manifest.
type TableSpec struct {
	Name        string    `json:"name"`
	Kind        TableKind `json:"kind"`
	Description string    `json:"description,omitempty"`
}

const (
	maxNames   = 64
	maxReasons = 256
	maxComment = 1024
)

var (
	validName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	validHash = regexp.MustCompile(`^[0-9a-f]{64}$`)
	validFile = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)
)

// manifestKeys are the keys of a manifest, and how they are read.
var manifestKeys = map[string]func(m *Manifest, v value){
	"name":        func(m *Manifest, v value) { m.Name = v.matching(validName, nameRule) },
	"version":     func(m *Manifest, v value) { m.Version = v.text(64) },
	"description": func(m *Manifest, v value) { m.Description = v.text(maxComment) },
	"abi":         func(m *Manifest, v value) { m.ABI = int(v.number(ABI, ABI)) },
	"module":      func(m *Manifest, v value) { m.Module = v.matching(validFile, fileRule) },
	"sha256":      func(m *Manifest, v value) { m.SHA256 = v.matching(validHash, "64 hexadecimal digits in lower case") },
	"language":    func(m *Manifest, v value) { m.Language = v.oneOf("c", "go", "rust", "assemblyscript") },
	"build":       readBuild,
	"hooks":       readHooks,
	"config":      func(m *Manifest, v value) { m.Config = v.json() },
	"tables":      readTables,
	"subsets":     func(m *Manifest, v value) { m.Subsets = v.names() },
	"counters":    func(m *Manifest, v value) { m.Counters = v.names() },
	"reasons":     readReasons,
	"fuel":        func(m *Manifest, v value) { m.Fuel = v.number(1, maxFuel) },
	"memory":      func(m *Manifest, v value) { m.Memory = v.size() },
	"tests":       func(m *Manifest, v value) { m.Tests = v.matching(validFile, fileRule) },
}

const (
	nameRule = "1 to 63 of a-z, 0-9, '-', '.', '_'"
	fileRule = "the name of a file beside the manifest"
)

// ParseManifest reads a manifest. The name is used in errors only, which say
// name:line:column for each mistake.
func ParseManifest(name string, data []byte) (*Manifest, error) {
	r := &manifestReader{file: name}
	m := &Manifest{}
	root, ok := r.root(data)
	if ok && root.isMapping() {
		readObject(root, m, manifestKeys)
		r.require(root, "name", m.Name != "")
		r.require(root, "abi", m.ABI != 0)
		r.require(root, "module", m.Module != "")
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return m, nil
}

func readBuild(m *Manifest, v value) {
	for _, word := range v.items(maxNames) {
		m.Build = append(m.Build, word.text(maxComment))
	}
	if len(m.Build) == 0 {
		v.wrong("a program and its arguments")
	}
}

func readHooks(m *Manifest, v value) {
	m.Hooks = []Hook{}
	for _, item := range v.items(len(hooks)) {
		m.Hooks = append(m.Hooks, Hook(item.oneOf(string(HookFlow), string(HookWeigh), string(HookProbe))))
	}
	if len(m.Hooks) == 0 {
		v.wrong("at least one of flow, weigh and probe")
	}
}

var tableKeys = map[string]func(t *TableSpec, v value){
	"name":        func(t *TableSpec, v value) { t.Name = v.matching(validName, nameRule) },
	"kind":        func(t *TableSpec, v value) { t.Kind = TableKind(v.oneOf("cidr", "address", "integer")) },
	"description": func(t *TableSpec, v value) { t.Description = v.text(maxComment) },
}

func readTables(m *Manifest, v value) {
	seen := map[string]bool{}
	for _, item := range v.items(maxNames) {
		t := TableSpec{}
		readObject(item, &t, tableKeys)
		item.r.require(item, "name", t.Name != "")
		item.r.require(item, "kind", t.Kind != "")
		if seen[t.Name] {
			item.wrong("the table " + t.Name + " is there twice")
		}
		seen[t.Name] = true
		m.Tables = append(m.Tables, t)
	}
}

func readReasons(m *Manifest, v value) {
	m.Reasons = map[uint16]string{}
	for _, e := range v.entries(maxReasons) {
		n := e.key.number(0, 65535)
		m.Reasons[uint16(n)] = strings.TrimSpace(e.value.text(128))
	}
}

package policy

import "encoding/json"

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
	SHA256   string `json:"sha256,omitempty"`
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

// ParseManifest reads a manifest. The name is used in errors only, which say
// name:line:column for each mistake.
func ParseManifest(name string, data []byte) (*Manifest, error) { panic("unfinished") }

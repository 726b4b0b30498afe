package policy

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
}

// Open reads the bundle at path: a directory with a policy.yaml, a manifest, or a
// module alone, which gets the manifest that its exports make up. It checks all
// that can be told without running the module: the manifest, the module's hash,
// its structure, imports and exports.
func Open(path string) (*Bundle, error) { panic("unfinished") }

// Has says whether the module answers h.
func (b *Bundle) Has(h Hook) bool { panic("unfinished") }

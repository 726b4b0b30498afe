package model

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Policy is a Wasm module with what the operator says of it.
type Policy struct {
	// Name is unique in a configuration: 1 to 63 of a-z, 0-9, '-', '.', '_'.
	Name string
	// Path is a bundle's directory, its manifest, or a module alone.
	Path string
	// SHA256 of the module, 64 hexadecimal digits; empty: any module will do.
	SHA256 string
	// Config is given to the module: JSON that its manifest's schema accepts.
	Config json.RawMessage
	// Tables fill the look-up tables of the manifest from files, by name.
	Tables map[string]string
	// Subsets say which backends the subsets of the manifest are, by name.
	Subsets map[string]Subset
	OnError OnError
	// Fuel is the budget of a call on the flow path: loop iterations and calls,
	// 1 to 100,000,000. 0: the manifest's, or the default.
	Fuel uint64
	// Memory is the most that the module's memory may grow to, in bytes, a
	// multiple of 65,536. 0: the manifest's, or the default.
	Memory int
	// Timeout holds for each other call: configure, validate, weigh and probe.
	// 0: the default.
	Timeout time.Duration
}

// Subset is some of a service's backends: those with a tag, of a zone, or both.
type Subset struct{ Tag, Zone string }

// Holds says whether a backend belongs to s.
func (s Subset) Holds(b Backend) bool {
	return (s.Tag == "" || b.Tags.Has(s.Tag)) && (s.Zone == "" || b.Zone == s.Zone)
}

// PolicyUse is a place in a service's chain of policies.
type PolicyUse struct {
	Policy string
	Mode   PolicyMode
}

// Tags are labels of a backend: sorted, with commas between, none twice.
type Tags string

// TagsOf returns the tags called so.
func TagsOf(names ...string) Tags {
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	return Tags(strings.Join(slices.Compact(sorted), ","))
}

// Has says whether the tag is one of t.
func (t Tags) Has(tag string) bool { return slices.Contains(t.List(), tag) }

// List returns the tags; nil if there are none.
func (t Tags) List() []string {
	if t == "" {
		return nil
	}
	return strings.Split(string(t), ",")
}

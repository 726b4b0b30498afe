package wasm

import (
	"fmt"
	"strings"
)

// ValueType is a type of values, as it is encoded.
type ValueType byte

// The value types.
const (
	I32       ValueType = 0x7f
	I64       ValueType = 0x7e
	F32       ValueType = 0x7d
	F64       ValueType = 0x7c
	V128      ValueType = 0x7b
	FuncRef   ValueType = 0x70
	ExternRef ValueType = 0x6f
)

var typeNames = map[ValueType]string{
	I32: "i32", I64: "i64", F32: "f32", F64: "f64", V128: "v128", FuncRef: "funcref", ExternRef: "externref",
}

func (t ValueType) String() string {
	if n, ok := typeNames[t]; ok {
		return n
	}
	return fmt.Sprintf("invalid(%#x)", byte(t))
}

// FuncType is a function's signature.
type FuncType struct{ Params, Results []ValueType }

// String returns "(i32, i64) -> i64", with "()" for no results.
func (t FuncType) String() string {
	results := list(t.Results)
	if len(t.Results) == 1 {
		results = t.Results[0].String()
	}
	return list(t.Params) + " -> " + results
}

func list(types []ValueType) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = t.String()
	}
	return "(" + strings.Join(names, ", ") + ")"
}

// Kind is what an import or export is.
type Kind byte

// The kinds of imports and exports.
const (
	KindFunc Kind = iota
	KindTable
	KindMemory
	KindGlobal
)

var kindNames = [...]string{"function", "table", "memory", "global"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("invalid(%d)", byte(k))
}

// Import is a function that the host must give.
type Import struct {
	Module, Name string
	Type         FuncType
}

// Export is what a module shows to the host.
type Export struct {
	Name string
	Kind Kind
	// Index is among all of the kind, imports first.
	Index uint32
	// Type of a function.
	Type FuncType
}

// limits are those of a memory in pages, or of a table in elements.
type limits struct {
	min, max uint32
	hasMax   bool
}

type table struct {
	element ValueType
	limits
}

// Module is a decoded module.
type Module struct {
	Imports []Import
	Exports []Export
	types   []FuncType
	// funcs are the types of the functions that are no imports.
	funcs    []uint32
	tables   []table
	memories []limits
	globals  uint32
	// sections are the contents as they were, by id; nil: not there.
	sections [sections][]byte
	bodies   []body
	// names are the functions' of the name section, by index.
	names []name
}

// body is a function's locals and instructions.
type body struct {
	// locals is the encoded list of declarations without its length, of
	// declarations many, for count locals without the parameters.
	locals       []byte
	declarations uint32
	count        uint32
	code         []byte
	// at is where code begins in the file.
	at int
}

type name struct {
	index uint32
	text  string
}

// MemoryPages is the size that the memory has at the start, in pages of 64 KiB; 0
// if there is no memory.
func (m *Module) MemoryPages() uint32 {
	if len(m.memories) == 0 {
		return 0
	}
	return m.memories[0].min
}

// HasMemory says whether the module has a memory.
func (m *Module) HasMemory() bool { return len(m.memories) > 0 }

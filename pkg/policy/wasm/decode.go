package wasm

import (
	"bytes"
	"errors"
	"fmt"
)

// Limits of what is read.
const (
	// MaxSize is the size of a module, in bytes.
	MaxSize = 32 << 20
	// MaxBody is the size of one function.
	MaxBody = 4 << 20
	// MaxLocals is the number of a function's locals, with its parameters. Each is a
	// word of every stack frame.
	MaxLocals = 4096
	// MaxTable is the number of elements that a table may grow to.
	MaxTable = 1 << 17
	// MaxFunctions is the number of functions that are no imports.
	MaxFunctions = 1 << 16
	maxTables    = 16
	maxTypes     = 1 << 16
	maxParams    = 128
	maxItems     = 1 << 20
)

// The sections by their ids. Section 0, custom, may stand anywhere.
const (
	sectionCustom = iota
	sectionType
	sectionImport
	sectionFunction
	sectionTable
	sectionMemory
	sectionGlobal
	sectionExport
	sectionStart
	sectionElement
	sectionCode
	sectionData
	sectionDataCount
	sections
)

// order is that of sections in a file.
var order = []int{
	sectionType, sectionImport, sectionFunction, sectionTable, sectionMemory, sectionGlobal,
	sectionExport, sectionStart, sectionElement, sectionDataCount, sectionCode, sectionData,
}

var sectionNames = [sections]string{
	"custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code", "data", "data count",
}

var header = []byte("\x00asm\x01\x00\x00\x00")

// Decode reads a module. It keeps parts of b.
func Decode(b []byte) (*Module, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("the module has %d bytes, at most %d are read", len(b), MaxSize)
	}
	if !bytes.HasPrefix(b, header) {
		return nil, errors.New("not a WebAssembly module (version 1 of the binary format)")
	}
	m := &Module{}
	r := &reader{b: b, at: len(header)}
	last := -1
	for r.err == nil && !r.done() {
		last = m.section(r, last)
	}
	if r.err == nil && len(m.bodies) != len(m.funcs) {
		r.fail("%d functions, but code for %d", len(m.funcs), len(m.bodies))
	}
	if r.err != nil {
		return nil, fmt.Errorf("malformed module: %w", r.err)
	}
	return m, nil
}

// section reads the next section and returns its place in order.
func (m *Module) section(r *reader, last int) int {
	id := r.byte()
	at := r.at
	s := r.sub(r.u32())
	if r.err != nil {
		return last
	}
	if id == sectionCustom {
		m.custom(s)
		r.err = s.err
		return last
	}
	place := placeOf(id)
	if place < 0 {
		r.at = at
		r.fail("unknown section %d", id)
		return last
	}
	if place <= last {
		r.at = at
		r.fail("the %s section is twice there, or too late", sectionNames[id])
		return last
	}
	m.sections[id] = s.b
	m.read(int(id), s)
	if s.err == nil && !s.done() {
		s.fail("the %s section is longer than its contents", sectionNames[id])
	}
	r.err = s.err
	return place
}

func placeOf(id byte) int {
	for i, o := range order {
		if o == int(id) {
			return i
		}
	}
	return -1
}

func (m *Module) read(id int, s *reader) {
	switch id {
	case sectionType:
		m.readTypes(s)
	case sectionImport:
		m.readImports(s)
	case sectionFunction:
		m.readFunctions(s)
	case sectionTable:
		m.readTables(s)
	case sectionMemory:
		m.readMemories(s)
	case sectionGlobal:
		m.readGlobals(s)
	case sectionExport:
		m.readExports(s)
	case sectionStart, sectionDataCount:
		s.u32()
	case sectionElement:
		m.readElements(s)
	case sectionCode:
		m.readCode(s)
	case sectionData:
		m.readData(s)
	}
}

func (m *Module) readTypes(s *reader) {
	for n := s.count(3, maxTypes, "types"); n > 0 && s.err == nil; n-- {
		if c := s.byte(); c != 0x60 {
			s.fail("type %#x is no function type", c)
		}
		m.types = append(m.types, FuncType{Params: s.valueTypes(), Results: s.valueTypes()})
	}
}

func (s *reader) valueTypes() []ValueType {
	n := s.count(1, maxParams, "parameters or results")
	types := make([]ValueType, 0, n)
	for ; n > 0; n-- {
		types = append(types, s.valueType())
	}
	return types
}

func (s *reader) valueType() ValueType {
	t := ValueType(s.byte())
	if _, ok := typeNames[t]; !ok {
		s.fail("unknown value type %#x", byte(t))
	}
	return t
}

func (m *Module) readImports(s *reader) {
	for n := s.count(4, maxItems, "imports"); n > 0 && s.err == nil; n-- {
		i := Import{Module: s.name(), Name: s.name()}
		kind := Kind(s.byte())
		if s.err == nil && kind != KindFunc {
			s.fail("it imports the %s %s.%s; only functions can be imported", kind, i.Module, i.Name)
			return
		}
		i.Type = m.typeAt(s, s.u32())
		m.Imports = append(m.Imports, i)
	}
}

func (m *Module) typeAt(s *reader, index uint32) FuncType {
	if index >= uint32(len(m.types)) {
		s.fail("type %d of %d", index, len(m.types))
		return FuncType{}
	}
	return m.types[index]
}

func (m *Module) readFunctions(s *reader) {
	for n := s.count(1, MaxFunctions, "functions"); n > 0 && s.err == nil; n-- {
		index := s.u32()
		m.typeAt(s, index)
		m.funcs = append(m.funcs, index)
	}
}

func (s *reader) limits() limits {
	switch flag := s.byte(); flag {
	case 0:
		return limits{min: s.u32()}
	case 1:
		return limits{min: s.u32(), max: s.u32(), hasMax: true}
	default:
		s.fail("limits of kind %#x (a shared or 64-bit memory?)", flag)
		return limits{}
	}
}

func (m *Module) readTables(s *reader) {
	for n := s.count(3, maxTables, "tables"); n > 0 && s.err == nil; n-- {
		t := table{element: s.valueType(), limits: s.limits()}
		if t.element != FuncRef && t.element != ExternRef {
			s.fail("a table of %s", t.element)
		}
		if t.min > MaxTable {
			s.fail("a table of %d elements, at most %d", t.min, MaxTable)
		}
		m.tables = append(m.tables, t)
	}
}

func (m *Module) readMemories(s *reader) {
	for n := s.count(2, 1, "memories"); n > 0 && s.err == nil; n-- {
		m.memories = append(m.memories, s.limits())
	}
}

func (m *Module) readGlobals(s *reader) {
	m.globals = s.count(4, maxItems, "globals")
	for n := m.globals; n > 0 && s.err == nil; n-- {
		s.valueType()
		if mutable := s.byte(); mutable > 1 {
			s.fail("a global's mutability is %d", mutable)
		}
		s.constant()
	}
}

// constant reads a constant expression.
func (s *reader) constant() {
	in := instruction{}
	for s.err == nil {
		if s.instruction(&in); in.op == opEnd {
			return
		}
		if in.op == opBlock || in.op == opLoop || in.op == opIf {
			s.fail("a block in a constant expression")
		}
	}
}

func (m *Module) readExports(s *reader) {
	for n := s.count(3, maxItems, "exports"); n > 0 && s.err == nil; n-- {
		e := Export{Name: s.name(), Kind: Kind(s.byte()), Index: s.u32()}
		if e.Kind > KindGlobal {
			s.fail("export %q is of no known kind", e.Name)
		}
		if e.Kind == KindGlobal && e.Index >= m.globals {
			s.fail("export %q: global %d of %d", e.Name, e.Index, m.globals)
		}
		if e.Kind == KindFunc {
			e.Type = m.funcType(s, e.Index)
		}
		m.Exports = append(m.Exports, e)
	}
}

// funcType is the type of a function, by its index with the imports.
func (m *Module) funcType(s *reader, index uint32) FuncType {
	imports := uint32(len(m.Imports))
	if index < imports {
		return m.Imports[index].Type
	}
	if index-imports >= uint32(len(m.funcs)) {
		s.fail("function %d of %d", index, int(imports)+len(m.funcs))
		return FuncType{}
	}
	return m.types[m.funcs[index-imports]]
}

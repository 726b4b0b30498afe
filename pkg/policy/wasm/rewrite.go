package wasm

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// FuelExport is the name of the global that holds a module's fuel: a mutable i64,
// which the host sets before a call. Below zero after a trap: it ran out.
const FuelExport = "xlb.fuel"

// Options of [Module.Rewrite].
type Options struct {
	// Fuel is what the module begins with: its start function has it.
	Fuel int64
	// MemoryPages is the most that its memory may grow to, in pages of 64 KiB.
	MemoryPages uint32
	// Unmetered takes no fuel, to measure what that costs. Such a module may never
	// end.
	Unmetered bool
}

// Rewrite returns the module with fuel, limits and without what runtimes compile
// wrongly; see [fueler] and [Module.guard]. A module that starts with more memory
// than it may have, or has a name of its own that the fuel needs, is an error.
func (m *Module) Rewrite(o Options) ([]byte, error) {
	if have := m.MemoryPages(); have > o.MemoryPages {
		return nil, fmt.Errorf("the module starts with %d KiB of memory, and may have %d KiB", have*64, o.MemoryPages*64)
	}
	if slices.ContainsFunc(m.Exports, func(e Export) bool { return e.Name == FuelExport }) {
		return nil, fmt.Errorf("the module exports %q, which is the host's name", FuelExport)
	}
	code, err := m.rewriteCode(o.Unmetered)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(header)
	for _, id := range order {
		content := m.sections[id]
		switch id {
		case sectionTable:
			content = m.cappedTables()
		case sectionMemory:
			content = m.cappedMemory(o.MemoryPages)
		case sectionGlobal:
			content = m.withFuel(o.Fuel)
		case sectionExport:
			content = m.withFuelExport()
		case sectionCode:
			content = code
		}
		if content != nil {
			out = appendBytes(append(out, byte(id)), content)
		}
	}
	return m.appendNames(out), nil
}

func (m *Module) cappedTables() []byte {
	if m.tables == nil {
		return m.sections[sectionTable]
	}
	b := appendU32(nil, uint32(len(m.tables)))
	for _, t := range m.tables {
		b = t.capped(append(b, byte(t.element)), MaxTable)
	}
	return b
}

func (m *Module) cappedMemory(pages uint32) []byte {
	if m.memories == nil {
		return m.sections[sectionMemory]
	}
	return m.memories[0].capped(appendU32(nil, 1), pages)
}

// capped appends l with a maximum of at most most.
func (l limits) capped(b []byte, most uint32) []byte {
	if l.hasMax {
		// A maximum below the minimum stays, for the runtime to refuse.
		most = min(most, l.max)
	}
	return appendU32(appendU32(append(b, 1), l.min), most)
}

// withFuel appends the fuel to the globals. Its index is then the number that there
// were, which no instruction of the module can name: [rewriter] checks that.
func (m *Module) withFuel(fuel int64) []byte {
	b := appendU32(nil, m.globals+1)
	if old := m.sections[sectionGlobal]; old != nil {
		b = append(b, afterCount(old)...)
	}
	b = append(b, byte(I64), 1, opI64Const)
	return append(appendS64(b, fuel), opEnd)
}

func (m *Module) withFuelExport() []byte {
	b := appendU32(nil, uint32(len(m.Exports)+1))
	if old := m.sections[sectionExport]; old != nil {
		b = append(b, afterCount(old)...)
	}
	b = appendBytes(b, []byte(FuelExport))
	return appendU32(append(b, byte(KindGlobal)), m.globals)
}

// afterCount returns a list that was read once without its length.
func afterCount(section []byte) []byte {
	r := &reader{b: section}
	r.u32()
	return section[r.at:]
}

// appendNames appends a name section, for stack traces: the functions' own names,
// or else those that they are exported by.
func (m *Module) appendNames(out []byte) []byte {
	names := map[uint32]string{}
	for _, e := range m.Exports {
		if e.Kind == KindFunc {
			names[e.Index] = e.Name
		}
	}
	for _, n := range m.names {
		names[n.index] = n.text
	}
	if len(names) == 0 {
		return out
	}
	list := appendU32(nil, uint32(len(names)))
	for _, index := range slices.Sorted(maps.Keys(names)) {
		list = appendBytes(appendU32(list, index), []byte(names[index]))
	}
	content := appendBytes(nil, []byte("name"))
	content = appendBytes(append(content, 1), list)
	return appendBytes(append(out, sectionCustom), content)
}

func (m *Module) rewriteCode(free bool) ([]byte, error) {
	if m.sections[sectionCode] == nil {
		return nil, nil
	}
	out := appendU32(nil, uint32(len(m.bodies)))
	total := uint64(0)
	for i := range m.bodies {
		f, weight, err := m.rewriteBody(i, free)
		if err != nil {
			return nil, fmt.Errorf("function %d: %w", len(m.Imports)+i, err)
		}
		if total += weight * weight; total > maxWeights {
			return nil, errors.New("the module is too complex: it has too many long functions (take them apart)")
		}
		out = appendBytes(out, f)
	}
	return out, nil
}

// rewriteBody returns function i, rewritten, and its weight.
func (m *Module) rewriteBody(i int, free bool) ([]byte, uint64, error) {
	b := &m.bodies[i]
	locals := uint32(len(m.types[m.funcs[i]].Params)) + b.count
	s, err := m.survey(b, locals)
	if err != nil {
		return nil, 0, err
	}
	f := appendU32(nil, b.declarations+2)
	f = append(f, b.locals...)
	f = append(f, 1, byte(I32), 1, byte(I64))
	w := &fueler{out: f, fuel: m.globals, size: locals, left: locals + 1, free: free}
	m.rewriteInstructions(b, s, w)
	return w.out, s.weight, nil
}

// rewriteInstructions copies the instructions of b, which the survey s has read
// without a mistake, and adds what they cost and need.
func (m *Module) rewriteInstructions(b *body, s *survey, w *fueler) {
	w.charge(s.costs[0])
	loops := 0
	r := &reader{b: b.code}
	for before := (instruction{op: opNop}); !r.done(); {
		at, in := r.at, instruction{}
		r.instruction(&in)
		switch {
		case in.op == opCall && in.index < uint32(len(m.Imports)), in.op == opCallIndirect:
			w.charge(1)
		case bulkShift(in.op) >= 0:
			w.chargeSize(bulkShift(in.op))
		}
		if s.needsGuard(in.op, before) {
			w.guard(in.op)
		}
		w.out = append(w.out, b.code[at:r.at]...)
		if in.op == opLoop {
			loops++
			w.charge(s.costs[loops])
		}
		before = in
	}
}

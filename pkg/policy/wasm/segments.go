package wasm

// readElements reads the element section for its counts and sizes.
func (m *Module) readElements(s *reader) {
	for n := s.count(2, maxItems, "element segments"); n > 0 && s.err == nil; n-- {
		flags := s.u32()
		if flags > 7 {
			s.fail("element segment of kind %d", flags)
			return
		}
		active, explicit, expressions := flags&1 == 0, flags&2 != 0, flags&4 != 0
		if active {
			if explicit {
				s.u32() // the table
			}
			s.constant()
		}
		if flags&3 != 0 {
			s.byte() // the kind or type of elements
		}
		for k := s.count(1, MaxTable, "elements"); k > 0 && s.err == nil; k-- {
			if expressions {
				s.constant()
			} else {
				s.u32()
			}
		}
	}
}

// readData reads the data section for its counts and sizes.
func (m *Module) readData(s *reader) {
	for n := s.count(2, maxItems, "data segments"); n > 0 && s.err == nil; n-- {
		flags := s.u32()
		if flags > 2 {
			s.fail("data segment of kind %d", flags)
			return
		}
		if flags == 2 {
			s.u32() // the memory
		}
		if flags != 1 {
			s.constant()
		}
		s.bytes(s.u32())
	}
}

func (m *Module) readCode(s *reader) {
	for n := s.count(3, maxItems, "functions with code"); n > 0 && s.err == nil; n-- {
		if len(m.bodies) == len(m.funcs) {
			s.fail("more code than functions")
			return
		}
		size := s.u32()
		if size > MaxBody {
			s.fail("function %d has %d bytes, at most %d", len(m.Imports)+len(m.bodies), size, MaxBody)
			return
		}
		f := s.sub(size)
		m.bodies = append(m.bodies, f.body(len(m.types[m.funcs[len(m.bodies)]].Params)))
		if s.err == nil {
			s.err = f.err
		}
	}
}

// body reads the locals of a function; the rest is its code.
func (f *reader) body(params int) body {
	b := body{declarations: f.count(2, MaxLocals, "declarations of locals")}
	start, total := f.at, uint64(params)
	for n := b.declarations; n > 0 && f.err == nil; n-- {
		k := f.u32()
		if total += uint64(k); total > MaxLocals {
			f.fail("%d locals are too many, at most %d", total, MaxLocals)
			return b
		}
		b.count += k
		f.valueType()
	}
	b.locals, b.code, b.at = f.b[start:f.at], f.b[f.at:], f.base+f.at
	return b
}

// custom reads the functions' names of the name section. A name section that is
// malformed is no mistake, as the specification has it; it is left out.
func (m *Module) custom(s *reader) {
	if s.name() != "name" || s.err != nil {
		return
	}
	r := &reader{b: s.b[s.at:]}
	for r.err == nil && !r.done() {
		id := r.byte()
		sub := r.sub(r.u32())
		if id != 1 || r.err != nil {
			continue
		}
		var names []name
		for n := sub.count(2, maxItems, "names"); n > 0 && sub.err == nil; n-- {
			names = append(names, name{index: sub.u32(), text: sub.name()})
		}
		if sub.err == nil {
			m.names = names
		}
	}
}

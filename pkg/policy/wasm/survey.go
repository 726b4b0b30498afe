package wasm

// span is how many instructions one unit of fuel pays for.
const span = 256

// survey is what must be known of a function before it is rewritten.
type survey struct {
	// costs are what the function's entry takes and each loop head, in the order of
	// the code. Between two of them control only goes forward, so that each time one
	// is passed, the instructions that are nearest to it run once at most.
	costs []uint32
	// masked are locals that may hold the result of an "and"; see guard.go.
	masked map[uint32]bool
}

// survey reads the instructions of b, which has the given number of locals.
func (m *Module) survey(b *body, locals uint32) (*survey, error) {
	r := &reader{b: b.code, base: b.at}
	// counts are instructions; to clear the locals is work too.
	counts := []uint32{locals}
	nest := []int{0} // for each open block, the head that its instructions count for
	flow := maskFlow{masked: map[uint32]bool{}}
	before := instruction{op: opNop}
	for r.err == nil && !r.done() {
		if len(nest) == 0 {
			r.fail("code after the end")
			break
		}
		in := instruction{}
		r.instruction(&in)
		m.checkIndex(r, in, locals)
		top := nest[len(nest)-1]
		counts[top]++
		switch in.op {
		case opLoop:
			nest = append(nest, len(counts))
			counts = append(counts, 0)
		case opBlock, opIf:
			nest = append(nest, top)
		case opEnd:
			nest = nest[:len(nest)-1]
		}
		flow.note(in, before)
		before = in
	}
	if r.err == nil && len(nest) > 0 {
		r.fail("%w", errEnd)
	}
	if r.err != nil {
		return nil, r.err
	}
	for i := range counts {
		counts[i] = 1 + counts[i]/span
	}
	return &survey{costs: counts, masked: flow.close()}, nil
}

// checkIndex refuses locals and globals that the module does not have: the rewriting
// adds some, and what was no index would become one.
func (m *Module) checkIndex(r *reader, in instruction, locals uint32) {
	switch in.op {
	case opLocalGet, opLocalSet, opLocalTee:
		if in.index >= locals {
			r.fail("local %d of %d", in.index, locals)
		}
	case opGlobalGet, opGlobalSet:
		if in.index >= m.globals {
			r.fail("global %d of %d", in.index, m.globals)
		}
	}
}

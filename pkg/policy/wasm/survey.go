package wasm

// span is how many instructions one unit of fuel pays for.
const span = 256

// Runtimes take time to compile that grows with the square of a function's blocks
// and faster: 10,000 loops in a row take wazero more than a minute. A weight counts
// what does it: 1 for a block or a branch, 4 for a loop, 1 for eight targets of a
// table. Go's library and JSON decoder together are below 1,000 a function, and some
// 10,000,000 when the squares of all functions are added.
const (
	maxWeight   = 8192
	maxWeights  = 500_000_000
	maxLoopNest = 64
)

// weight is that of an instruction.
func (in instruction) weight() uint64 {
	switch in.op {
	case opBlock, opIf, opBrIf, opCallIndirect:
		return 1
	case opLoop:
		return 4
	case opBrTable:
		return 1 + uint64(in.index)/8
	}
	return 0
}

// survey is what must be known of a function before it is rewritten.
type survey struct {
	// costs are what the function's entry takes and each loop head, in the order of
	// the code. Between two of them control only goes forward, so that each time one
	// is passed, the instructions that are nearest to it run once at most.
	costs []uint32
	// masked are locals that may hold the result of an "and"; see guard.go.
	masked map[uint32]bool
	weight uint64
}

// survey reads the instructions of b, which has the given number of locals.
func (m *Module) survey(b *body, locals uint32) (*survey, error) {
	r := &reader{b: b.code, base: b.at}
	// To clear the locals is work too.
	s := &survey{costs: []uint32{locals}}
	nest := &nesting{heads: []int{0}}
	flow := maskFlow{masked: map[uint32]bool{}}
	before := instruction{op: opNop}
	for r.err == nil && !r.done() {
		if len(nest.heads) == 0 {
			r.fail("code after the end")
			break
		}
		in := instruction{}
		r.instruction(&in)
		m.checkIndex(r, in, locals)
		s.costs[nest.head()]++
		if nest.note(in, len(s.costs)) {
			s.costs = append(s.costs, 0)
		}
		if s.weight += in.weight(); s.weight > maxWeight || nest.loops > maxLoopNest {
			r.fail("the function is too complex: it has too many blocks, loops or branches, or loops in more than %d loops (take it apart)", maxLoopNest)
		}
		flow.note(in, before)
		before = in
	}
	if r.err == nil && len(nest.heads) > 0 {
		r.fail("%w", errEnd)
	}
	for i := range s.costs {
		s.costs[i] = 1 + s.costs[i]/span
	}
	s.masked = flow.close()
	return s, r.err
}

// nesting is the blocks that are open.
type nesting struct {
	// heads are, for each, the number of the loop (0: the function) that its
	// instructions count for.
	heads []int
	loops int
}

func (n *nesting) head() int { return n.heads[len(n.heads)-1] }

// note follows in, and says whether it began loop number next.
func (n *nesting) note(in instruction, next int) bool {
	switch in.op {
	case opLoop:
		n.heads = append(n.heads, next)
		n.loops++
		return true
	case opBlock, opIf:
		n.heads = append(n.heads, n.head())
	case opEnd:
		last := n.head()
		n.heads = n.heads[:len(n.heads)-1]
		if len(n.heads) > 0 && last != n.head() {
			n.loops--
		}
	}
	return false
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

package wasm

// wazero 1.12 on amd64 compiles a branch on "0 < (a & b)", and on the other three
// ordered comparisons with a zero at the left and an "and" at the right, as if they
// were turned around (testdata/miscompile.wat). So where the right operand may be
// an "and", it is hidden behind an "or" with zero, which changes no value.
//
// The compiler looks through locals, so all of a function's are known that may
// hold an "and": that is exact enough for few to need the guard.

// masks says whether the value on top of the stack after in may be an "and". local
// is true if that depends on the local that in names.
func masks(in instruction) (may, local bool) {
	switch op := in.op; {
	case op == opLocalGet || op == opLocalTee:
		return false, true
	case op == opI32And || op == opI64And:
		return true, false
	case op >= 0x74 && op <= 0x76 || op >= 0x86 && op <= 0x88:
		return true, false // shifts, which are nothing if by zero
	case op >= 0x28 && op <= 0x35, op >= opMemorySize && op <= 0xc4, op == opGlobalGet:
		return false, false // loads, numbers, arithmetic
	}
	// Control, calls, and what leaves an older value on top.
	return true, false
}

// maskFlow follows values from local to local.
type maskFlow struct {
	masked map[uint32]bool
	copies []struct{ from, to uint32 }
}

// note takes note of in, which follows before.
func (f *maskFlow) note(in, before instruction) {
	if in.op != opLocalSet && in.op != opLocalTee {
		return
	}
	may, local := masks(before)
	if may {
		f.masked[in.index] = true
	}
	if local && before.index != in.index {
		f.copies = append(f.copies, struct{ from, to uint32 }{before.index, in.index})
	}
}

// close follows copies until nothing changes, and returns all masked locals.
func (f *maskFlow) close() map[uint32]bool {
	next := map[uint32][]uint32{}
	for _, c := range f.copies {
		next[c.from] = append(next[c.from], c.to)
	}
	var work []uint32
	for l := range f.masked {
		work = append(work, l)
	}
	for len(work) > 0 {
		from := work[len(work)-1]
		work = work[:len(work)-1]
		for _, to := range next[from] {
			if !f.masked[to] {
				f.masked[to] = true
				work = append(work, to)
			}
		}
	}
	return f.masked
}

// needsGuard says whether op compares in order with a right operand, made by the
// instruction before, that may be an "and".
func (s *survey) needsGuard(op uint32, before instruction) bool {
	if !ordered(op) {
		return false
	}
	may, local := masks(before)
	return may || local && s.masked[before.index]
}

// ordered says whether op is an integer's lt, gt, le or ge.
func ordered(op uint32) bool { return op >= 0x48 && op <= 0x4f || op >= 0x53 && op <= 0x5a }

// guard hides the operand of op on top of the stack.
func (w *fueler) guard(op uint32) {
	if op <= 0x4f {
		w.number(opI32Const, 0)
		w.op(opI32Or)
		return
	}
	w.number(opI64Const, 0)
	w.op(opI64Or)
}

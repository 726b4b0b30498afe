package wasm

// fueler writes a function that pays for what it does. One unit of fuel is taken at
// each function's entry, each time a loop begins anew, and before each call of an
// import or through a table; besides, one for every 256 instructions that may run
// until fuel is next taken. What runs for longer the more it is given (memory.fill,
// table.copy, …) takes one for every 4 KiB. When there is not enough left it traps.
type fueler struct {
	out []byte
	// fuel is the index of the global; size (i32) and left (i64) are of locals.
	fuel, size, left uint32
	// free: nothing is paid.
	free bool
}

func (w *fueler) op(op byte) { w.out = append(w.out, op) }

func (w *fueler) with(op byte, index uint32) { w.out = appendU32(append(w.out, op), index) }

func (w *fueler) number(op byte, v int64) { w.out = appendS64(append(w.out, op), v) }

// charge takes cost units.
func (w *fueler) charge(cost uint32) {
	if w.free {
		return
	}
	w.with(opGlobalGet, w.fuel)
	w.number(opI64Const, int64(cost))
	w.take()
}

// chargeSize takes one unit and a part of the i32 on top of the stack, which stays.
func (w *fueler) chargeSize(shift int) {
	if w.free {
		return
	}
	w.with(opLocalTee, w.size)
	w.with(opGlobalGet, w.fuel)
	w.with(opLocalGet, w.size)
	w.number(opI32Const, int64(shift))
	w.op(opI32ShrU)
	w.op(opI64ExtendU)
	w.number(opI64Const, 1)
	w.op(opI64Add)
	w.take()
}

// take stores the difference of the two i64 on top of the stack as fuel, and traps
// if it is below zero.
func (w *fueler) take() {
	w.op(opI64Sub)
	w.with(opLocalTee, w.left)
	w.with(opGlobalSet, w.fuel)
	w.with(opLocalGet, w.left)
	w.number(opI64Const, 0)
	w.op(opI64LtS)
	w.out = append(w.out, opIf, blockEmpty, opUnreachable, opEnd)
}

// bulkShift is by how many bits the operand on top of the stack is to be shifted to
// give units of fuel, for instructions that take a size; else -1.
func bulkShift(op uint32) int {
	switch op {
	case opMemoryInit, opMemoryCopy, opMemoryFill:
		return 12
	case opTableInit, opTableCopy, opTableFill, opTableGrow: // of elements of 8 bytes
		return 9
	case opMemoryGrow: // of pages
		return 0
	}
	return -1
}

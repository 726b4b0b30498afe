package wasm

// Opcodes that are treated specially. Those with a prefix byte are prefix<<8 | number.
const (
	opUnreachable  = 0x00
	opNop          = 0x01
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opSelect       = 0x1b
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableGet     = 0x25
	opTableSet     = 0x26
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opI32And       = 0x71
	opI32Or        = 0x72
	opI64And       = 0x83
	opI64Or        = 0x84
	opI32ShrU      = 0x76
	opI64LtS       = 0x53
	opI64Add       = 0x7c
	opI64Sub       = 0x7d
	opI64ExtendU   = 0xad
	opRefNull      = 0xd0
	opRefIsNull    = 0xd1
	opRefFunc      = 0xd2
	opMemoryInit   = 0xfc08
	opDataDrop     = 0xfc09
	opMemoryCopy   = 0xfc0a
	opMemoryFill   = 0xfc0b
	opTableInit    = 0xfc0c
	opElemDrop     = 0xfc0d
	opTableCopy    = 0xfc0e
	opTableGrow    = 0xfc0f
	opTableSize    = 0xfc10
	opTableFill    = 0xfc11
	opV128Const    = 0xfd0c
	opShuffle      = 0xfd0d
)

// blockEmpty is the type of a block without parameters and results.
const blockEmpty = 0x40

// instruction is one of a function: its opcode, and its first immediate if that is
// an index; of br_table the number of targets.
type instruction struct {
	op    uint32
	index uint32
}

// instruction reads the next one. Opcodes that WebAssembly 2.0 does not have are an
// error, and so are encodings longer than needed where runtimes skip a fixed number
// of bytes: a module must not look different to them than it does here.
func (r *reader) instruction(in *instruction) {
	at := r.at
	in.op, in.index = uint32(r.byte()), 0
	switch op := in.op; {
	case op == 0xfc || op == 0xfd:
		n := r.u32()
		if n > 0xff || (n < 0x80) != (r.at-at == 2) {
			r.at = at
			r.fail("unknown instruction %#x %d", op, n)
			return
		}
		in.op = op<<8 | n
		r.prefixed(in)
	case op == opBlock || op == opLoop || op == opIf:
		r.blockType()
	case op == opBr || op == opBrIf || op == opCall || op >= opLocalGet && op <= opTableSet || op == opRefFunc:
		in.index = r.u32()
	case op == opBrTable:
		in.index = r.count(1, maxItems, "targets")
		for n := in.index + 1; n > 0 && r.err == nil; n-- {
			r.u32()
		}
	case op == opCallIndirect:
		r.u32()
		r.u32()
	case op == opSelectTyped:
		r.fixed(1)
		r.valueType()
	case op >= 0x28 && op <= 0x3e:
		r.memArg()
	case op == opMemorySize || op == opMemoryGrow:
		r.fixed(0)
	case op == opRefNull:
		if t := r.valueType(); t != FuncRef && t != ExternRef {
			r.fail("a null of type %s", t)
		}
	case op == opI32Const:
		r.signed(32)
	case op == opI64Const:
		r.signed(64)
	case op == opF32Const:
		r.bytes(4)
	case op == opF64Const:
		r.bytes(8)
	case !plain(op):
		r.at = at
		r.fail("unknown instruction %#x (WebAssembly 2.0 is what runs here)", op)
	}
}

// plain says whether op is an instruction of one byte without immediates.
func plain(op uint32) bool {
	return op <= opNop || op == opElse || op == opEnd || op == opReturn || op == opDrop || op == opSelect ||
		op >= 0x45 && op <= 0xc4 || op == opRefIsNull
}

func (r *reader) prefixed(in *instruction) {
	switch op := in.op; {
	case op <= 0xfc07:
	case op == opMemoryInit:
		r.u32()
		r.fixed(0)
	case op == opTableInit, op == opTableCopy:
		r.u32()
		r.u32()
	case op == opMemoryCopy:
		r.fixed(0)
		r.fixed(0)
	case op == opMemoryFill:
		r.fixed(0)
	case op == opDataDrop, op == opElemDrop, op >= opTableGrow && op <= opTableFill:
		r.u32()
	case op >= 0xfd00 && op <= 0xfd0b, op == 0xfd5c, op == 0xfd5d:
		r.memArg()
	case op >= 0xfd54 && op <= 0xfd5b:
		r.memArg()
		r.byte()
	case op == opV128Const, op == opShuffle:
		r.bytes(16)
	case op >= 0xfd15 && op <= 0xfd22:
		r.byte()
	case op < 0xfd00:
		r.fail("unknown instruction 0xfc %d", op&0xff)
	}
}

// fixed reads a byte that the specification fixes.
func (r *reader) fixed(want byte) {
	if c := r.byte(); c != want {
		r.fail("%#x in place of %#x", c, want)
	}
}

func (r *reader) memArg() {
	r.u32()
	r.u32()
}

// blockType is one byte for none or one result, or the index of a type.
func (r *reader) blockType() {
	at := r.at
	if i := r.signed(33); i < -64 || i < 0 && r.at-at != 1 {
		r.fail("block of type %d", i)
	}
}

package wasm

import (
	"math/rand/v2"
	"slices"
)

// program makes a module of random but valid code: integers, memory, branches,
// loops and calls, with an eye to comparisons of masks with zero.
type program struct {
	r     *rand.Rand
	b     []byte
	depth int
	// labels are the open blocks; true: a loop, which is left only downwards.
	labels []bool
}

// Locals of the function: 0 to 2 are i32 and 3 to 5 i64 parameters; 6 to 9 are i32,
// 10 to 13 i64; from 14 on are counters of loops.
const firstCounter, counters = 14, 6

var edges = []int64{0, 0, 0, 1, -1, 2, 31, 32, 63, 64, 255, 65535, 65536, 1<<31 - 1, -1 << 31, 1 << 32, 1<<63 - 1, -1 << 63}

func (p *program) op(b ...byte) { p.b = append(p.b, b...) }

func (p *program) pick(ops ...byte) { p.op(ops[p.r.IntN(len(ops))]) }

func (p *program) local(op byte, wide bool) uint32 {
	l := []uint32{0, 1, 2, 6, 7, 8, 9}[p.r.IntN(7)]
	if wide {
		l = []uint32{3, 4, 5, 10, 11, 12, 13}[p.r.IntN(7)]
	}
	p.b = appendU32(append(p.b, op), l)
	return l
}

// value leaves an i32 or (wide) an i64 on the stack.
func (p *program) value(wide bool) {
	p.depth++
	defer func() { p.depth-- }()
	base := byte(0)
	if wide {
		base = opI64And - opI32And
	}
	kind := p.r.IntN(16)
	if p.depth > 6 {
		kind = p.r.IntN(4)
	}
	switch {
	case kind < 2 && wide:
		p.b = appendS64(append(p.b, opI64Const), edges[p.r.IntN(len(edges))])
	case kind < 2:
		p.b = appendS64(append(p.b, opI32Const), int64(int32(edges[p.r.IntN(len(edges))])))
	case kind < 4:
		p.local(opLocalGet, wide)
	case kind < 6:
		p.value(wide)
		p.value(wide)
		p.op(opI32And + base)
	case kind < 9:
		p.value(wide)
		p.value(wide)
		p.pick(0x6a+base, 0x6b+base, 0x6c+base, 0x72+base, 0x73+base, 0x74+base, 0x75+base, 0x76+base, 0x77+base)
	case kind == 9:
		p.value(wide)
		p.local(opLocalTee, wide)
	case kind == 10:
		p.value(!wide)
		if wide {
			p.pick(0xac, 0xad)
		} else {
			p.pick(0xa7, 0x50)
		}
	case kind == 11:
		p.value(wide)
		p.value(wide)
		p.value(false)
		p.op(opSelect)
	case kind == 12:
		p.condition()
		if wide {
			p.op(0xad)
		}
	case kind == 13:
		p.block(opIf, wide)
	case kind == 14:
		p.address()
		if wide {
			p.op(0x29, 0, 8)
		} else {
			p.op(0x28, 0, 4)
		}
	default:
		p.value(false)
		p.value(true)
		p.op(opCall, 2)
		if wide {
			p.op(0xad)
		}
	}
}

// condition leaves 0 or 1.
func (p *program) condition() {
	wide := p.r.IntN(2) == 0
	p.value(wide)
	p.value(wide)
	if wide {
		p.op(0x51 + byte(p.r.IntN(10)))
	} else {
		p.op(0x46 + byte(p.r.IntN(10)))
	}
}

// block is an if with a value.
func (p *program) block(op byte, wide bool) {
	p.condition()
	p.op(op, map[bool]byte{true: byte(I64), false: byte(I32)}[wide])
	p.labels = append(p.labels, false)
	p.value(wide)
	p.op(opElse)
	p.value(wide)
	p.op(opEnd)
	p.labels = p.labels[:len(p.labels)-1]
}

func (p *program) address() {
	p.value(false)
	p.b = appendS64(append(p.b, opI32Const), 0x1ff8)
	p.op(opI32And)
}

func (p *program) statements(n int) {
	for range 1 + p.r.IntN(n) {
		p.statement()
	}
}

func (p *program) statement() {
	p.depth++
	defer func() { p.depth-- }()
	kind := p.r.IntN(11)
	if p.depth > 4 {
		kind = p.r.IntN(4)
	}
	switch kind {
	case 0, 1:
		wide := p.r.IntN(2) == 0
		p.value(wide)
		p.local(opLocalSet, wide)
	case 2:
		p.address()
		p.value(true)
		p.op(0x37, 0, 8)
	case 3:
		p.value(true)
		p.op(opGlobalSet, 0)
	case 4, 5:
		p.condition()
		p.nest(opIf, func() { p.statements(2) })
	case 6:
		p.nest(opBlock, func() { p.statements(3) })
	case 7:
		p.loop()
	case 8:
		if n := len(p.labels); n > 0 && !p.labels[n-1] {
			p.condition()
			p.op(opBrIf, 0)
		}
	case 9:
		p.address()
		p.value(false)
		p.value(false)
		p.op(opI32Const, 63, opI32And, 0xfc, 11, 0)
	case 10:
		p.condition()
		p.nest(opIf, func() {
			p.value(true)
			p.op(opReturn)
		})
	}
}

func (p *program) nest(op byte, inside func()) {
	p.op(op, blockEmpty)
	p.labels = append(p.labels, op == opLoop)
	inside()
	p.op(opEnd)
	p.labels = p.labels[:len(p.labels)-1]
}

// loop runs a few times: its counter's nesting makes its number.
func (p *program) loop() {
	c := byte(firstCounter)
	for _, l := range p.labels {
		if l {
			c++
		}
	}
	if c >= firstCounter+counters {
		return
	}
	p.op(opI32Const, byte(1+p.r.IntN(9)), opLocalSet, c)
	p.nest(opLoop, func() {
		p.statements(2)
		p.op(opLocalGet, c, opI32Const, 1, 0x6b, opLocalTee, c, opBrIf, 0)
	})
}

// newProgram makes a module that exports f(i32, i32, i32, i64, i64, i64) -> i64.
func newProgram(seed uint64) []byte {
	p := &program{r: rand.New(rand.NewPCG(seed, 1))}
	p.statements(7)
	for l := byte(6); l < 10; l++ {
		p.op(opLocalGet, l, 0xad)
	}
	for l := byte(10); l < 14; l++ {
		p.op(opLocalGet, l)
	}
	for range 7 {
		p.op(opI64Const, 7, 0x89, 0x85)
	}
	p.op(opEnd)
	locals := []byte{3, 4, byte(I32), 4, byte(I64), counters, byte(I32)}
	helper := []byte{0, opLocalGet, 0, opLocalGet, 1, 0xa7, 0x73, opLocalTee, 0, opI32Const, 1, opI32And,
		opIf, blockEmpty, opLocalGet, 0, opI32Const, 13, 0x6c, opReturn, opEnd, opLocalGet, 0, opEnd}
	i, l := byte(I32), byte(I64)
	b := slices.Clone(header)
	b = append(b, section(sectionType, 3, 0x60, 6, i, i, i, l, l, l, 1, l, 0x60, 2, i, l, 1, i, 0x60, 0, 0)...)
	b = append(b, section(sectionImport, 1, 4, 'h', 'o', 's', 't', 1, 'f', 0, 2)...)
	b = append(b, section(sectionFunction, 2, 0, 1)...)
	b = append(b, section(sectionMemory, 1, 0, 1)...)
	b = append(b, section(sectionGlobal, 1, l, 1, opI64Const, 5, opEnd)...)
	b = append(b, section(sectionExport, 2, 1, 'f', 0, 1, 1, 'm', 2, 0)...)
	code := appendBytes([]byte{2}, append(locals, p.b...))
	return append(b, section(sectionCode, appendBytes(code, helper)...)...)
}

package policy

import (
	"github.com/xlb-io/xlb/pkg/policy/wasm"
)

// function is one of a module made by assemble; code is without the last "end".
type function struct {
	export          string
	params, results string // i or l each, as in signature
	code            []byte
}

// Instructions that tests write.
const (
	wUnreachable = 0x00
	wLoop        = 0x03
	wEnd         = 0x0b
	wBr          = 0x0c
	wI32         = 0x41
	wI64         = 0x42
	wVoid        = 0x40
)

var endless = []byte{wLoop, wVoid, wBr, 0, wEnd}

// abiVersion exports xlb_abi_version, which returns v.
func abiVersion(v byte) function { return function{"xlb_abi_version", "", "i", []byte{wI32, v}} }

// flowReturns exports flow, which returns v, 0 to 63.
func flowReturns(v byte) function { return function{"flow", "lllliiiili", "l", []byte{wI64, v}} }

// assemble makes a module. start is the index of the start function, -1: none.
func assemble(imports []wasm.Import, functions []function, start int) []byte {
	var types, imported, declared, exported, code []byte
	for i, im := range imports {
		types = append(append(append(types, 0x60), typeList(im.Type.Params)...), typeList(im.Type.Results)...)
		imported = append(append(imported, text(im.Module)...), text(im.Name)...)
		imported = append(imported, 0, byte(i))
	}
	exports := 0
	for i, f := range functions {
		index := byte(len(imports) + i)
		s := signature(f.params, f.results)
		types = append(append(append(types, 0x60), typeList(s.Params)...), typeList(s.Results)...)
		declared = append(declared, index)
		if f.export != "" {
			exports++
			exported = append(append(exported, text(f.export)...), 0, index)
		}
		body := append(append([]byte{0}, f.code...), wEnd)
		code = append(append(code, byte(len(body))), body...)
	}
	b := []byte("\x00asm\x01\x00\x00\x00")
	b = append(b, section(1, len(imports)+len(functions), types)...)
	b = append(b, section(2, len(imports), imported)...)
	b = append(b, section(3, len(functions), declared)...)
	b = append(b, section(7, exports, exported)...)
	if start >= 0 {
		b = append(b, 8, 1, byte(len(imports)+start))
	}
	return append(b, section(10, len(functions), code)...)
}

func section(id byte, count int, items []byte) []byte {
	size := len(items) + 1
	return append([]byte{id, byte(size&0x7f | 0x80), byte(size >> 7), byte(count)}, items...)
}

func text(s string) []byte { return append([]byte{byte(len(s))}, s...) }

func typeList(types []wasm.ValueType) []byte {
	b := []byte{byte(len(types))}
	for _, t := range types {
		b = append(b, byte(t))
	}
	return b
}

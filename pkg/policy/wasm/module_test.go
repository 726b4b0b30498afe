package wasm

import "slices"

// section encodes a section.
func section(id byte, content ...byte) []byte {
	return appendBytes([]byte{id}, content)
}

// module is a module of one function "f" with the given parameters, declarations of
// locals (with their number) and code.
func module(params, locals, code []byte) []byte {
	if locals == nil {
		locals = []byte{0}
	}
	b := slices.Clone(header)
	b = append(b, section(sectionType, append(append([]byte{1, 0x60}, appendBytes(nil, params)...), 0)...)...)
	b = append(b, section(sectionFunction, 1, 0)...)
	b = append(b, section(sectionExport, 1, 1, 'f', 0, 0)...)
	return append(b, section(sectionCode, append([]byte{1}, appendBytes(nil, append(slices.Clone(locals), code...))...)...)...)
}

// fuelExporter exports a global of its own by the host's name.
func fuelExporter() []byte {
	b := append(slices.Clone(header), section(sectionGlobal, 1, byte(I64), 1, opI64Const, 0, opEnd)...)
	content := append(appendBytes([]byte{1}, []byte(FuelExport)), byte(KindGlobal), 0)
	return append(b, section(sectionExport, content...)...)
}

// globalExporter exports a global that is not there.
func globalExporter() []byte {
	return append(slices.Clone(header), section(sectionExport, 1, 1, 'g', byte(KindGlobal), 0)...)
}

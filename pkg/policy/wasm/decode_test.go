package wasm

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func repeat(n int, code ...byte) []byte { return slices.Repeat(code, n) }

// file is a module of sections.
func file(sections ...[]byte) []byte {
	return append(slices.Clone(header), slices.Concat(sections...)...)
}

func TestDecodeErrors(t *testing.T) {
	void := section(sectionType, 1, 0x60, 0, 0)
	one := section(sectionFunction, 1, 0)
	tests := map[string]struct {
		b    []byte
		want string
	}{
		"nothing":           {nil, "not a WebAssembly module"},
		"a component":       {[]byte("\x00asm\x0d\x00\x01\x00"), "not a WebAssembly module"},
		"too large":         {make([]byte, MaxSize+1), "33554433 bytes, at most 33554432"},
		"a cut section":     {append(slices.Clone(header), 1, 9), "at byte 10: unexpected end"},
		"unknown section":   {file(section(13)), "unknown section 13"},
		"twice":             {file(void, void), "the type section is twice there, or too late"},
		"order":             {file(one), "type 0 of 0"},
		"late":              {file(section(sectionMemory, 0), section(sectionTable, 0)), "the table section is twice there, or too late"},
		"more than it says": {file(section(sectionMemory, 0, 0)), "the memory section is longer than its contents"},
		"count":             {file(section(sectionType, 0xff, 0xff, 0x7f)), "2097151 types are too many, at most 65536"},
		"many":              {file(section(sectionType, 0x80, 0x80, 2)), "32768 types do not fit into their section"},
		"no function type":  {file(section(sectionType, 1, 0x5f, 0, 0)), "type 0x5f is no function type"},
		"value type":        {file(section(sectionType, 1, 0x60, 1, 0x40, 0)), "unknown value type 0x40"},
		"long number":       {file(section(sectionType, 0x80, 0x80, 0x80, 0x80, 0x10)), "number of more than 32 bits"},
		"two memories":      {file(section(sectionMemory, 2, 0, 1, 0, 1)), "2 memories are too many, at most 1"},
		"shared memory":     {file(section(sectionMemory, 1, 3, 1, 1)), "limits of kind 0x3"},
		"big table":         {file(section(sectionTable, 1, 0x70, 0, 0x81, 0x80, 8)), "a table of 131073 elements, at most 131072"},
		"imported global":   {file(section(sectionImport, 1, 1, 'a', 1, 'b', 3, 0x7f, 0)), "it imports the global a.b; only functions can be imported"},
		"no UTF-8":          {file(section(sectionImport, 1, 1, 0xff, 1, 'b', 0, 0)), "a name is not UTF-8"},
		"exported nothing":  {file(section(sectionExport, 1, 1, 'f', 0, 0)), "function 0 of 0"},
		"no code":           {file(void, one), "1 functions, but code for 0"},
		"more code":         {file(section(sectionCode, 1, 2, 0, opEnd)), "more code than functions"},
		"locals":            {file(void, one, section(sectionCode, 1, 6, 1, 0xff, 0xff, 3, 0x7f, opEnd)), "65535 locals are too many, at most 4096"},
		"many locals":       {file(void, one, section(sectionCode, 1, 12, 2, 0xff, 0xff, 0xff, 0xff, 15, 0x7f, 1, 0x7f, opEnd, 0, 0)), "4294967295 locals are too many"},
		"data":              {file(section(sectionData, 1, 1, 9, 'x')), "unexpected end"},
		"data kind":         {file(section(sectionData, 1, 3, 0, 0)), "data segment of kind 3"},
		"elements":          {file(section(sectionElement, 1, 8, 0)), "element segment of kind 8"},
		"constant":          {file(section(sectionGlobal, 1, 0x7f, 0, opBlock, 0x40, opEnd, opEnd)), "a block in a constant expression"},
	}
	for name, tt := range tests {
		if _, err := Decode(tt.b); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// TestDecode reads what a module shows.
func TestDecode(t *testing.T) {
	m, err := Decode(read(t, "cost.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Imports) != 1 || m.Imports[0].Module != "host" || m.Imports[0].Name != "f" || m.Imports[0].Type.String() != "() -> ()" {
		t.Errorf("imports %v", m.Imports)
	}
	want := []string{"memory memory", "nothing () -> ()", "loop (i32) -> ()", "grow (i32) -> i32"}
	var got []string
	for _, e := range m.Exports {
		text := e.Name + " " + e.Type.String()
		if e.Kind != KindFunc {
			text = e.Name + " " + e.Kind.String()
		}
		got = append(got, text)
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("no export %q in %q", w, got)
		}
	}
	if m.MemoryPages() != 1 || !m.HasMemory() {
		t.Errorf("%d pages", m.MemoryPages())
	}
}

// TestNames: a name section that is malformed is left out, any other one stays.
func TestNames(t *testing.T) {
	b := module(nil, nil, []byte{opEnd})
	for names, want := range map[string]string{
		"\x04name\x01\x04\x01\x00\x01x":     "x",
		"\x04name\x00\x02\x01m":             "f",
		"\x04name\x01\xff\xff\x03":          "f",
		"\x04name\x01\x06\xff\xff\x03\x00a": "f",
		"\x05other\x01":                     "f",
	} {
		m, err := Decode(append(slices.Clone(b), section(sectionCustom, []byte(names)...)...))
		if err != nil {
			t.Errorf("%q: %v", names, err)
			continue
		}
		out, err := m.Rewrite(Options{})
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(out)
		if err != nil || len(again.names) != 1 || again.names[0].text != want {
			t.Errorf("%q: %v %v, want %q", names, again.names, err, want)
		}
	}
}

// TestComplexity: what would take a runtime minutes to compile is refused at once.
func TestComplexity(t *testing.T) {
	loops := func(n int) []byte {
		return append(repeat(n, opLoop, 0x40, opI32Const, 0, opBrIf, 0, opEnd), opEnd)
	}
	targets := append(appendU32([]byte{opBlock, 0x40, opI32Const, 0, opBrTable}, 100000), repeat(100001, 0)...)
	tests := map[string]struct {
		code []byte
		want string
	}{
		"loops in a row":  {loops(2000), "function 0: at byte"},
		"fewer":           {loops(500), ""},
		"nested loops":    {append(repeat(100, opLoop, 0x40), repeat(101, opEnd)...), "loops in more than 64 loops"},
		"branches":        {append(repeat(9000, opI32Const, 0, opIf, 0x40, opEnd), opEnd), "too complex"},
		"a table":         {append(targets, opEnd, opEnd), "too complex"},
		"a long function": {append(repeat(500000, opI32Const, 0, opDrop), opEnd), ""},
	}
	for name, tt := range tests {
		start := time.Now()
		m, err := Decode(module(nil, nil, tt.code))
		if err == nil {
			_, err = m.Rewrite(Options{})
		}
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("%s: %v", name, d)
		}
	}
	b := file(section(sectionType, 1, 0x60, 0, 0), section(sectionFunction, append([]byte{20}, repeat(20, 0)...)...))
	code := []byte{20}
	for range 20 {
		code = appendBytes(code, append([]byte{0}, loops(1200)...))
	}
	m, err := Decode(append(b, section(sectionCode, code...)...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Rewrite(Options{}); err == nil || !strings.Contains(err.Error(), "the module is too complex") {
		t.Errorf("20 long functions: %v", err)
	}
}

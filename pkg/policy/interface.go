package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/xlb-io/xlb/pkg/policy/wasm"
)

// exports are the functions that a module may have for the host, with their types.
var exports = map[string]wasm.FuncType{
	"xlb_abi_version": signature("", "i"),
	"flow":            signature("lllliiiili", "l"),
	"weigh":           signature("iii", "i"),
	"probe":           signature("i", "i"),
	"validate":        signature("ii", "l"),
	"configure":       signature("iill", "i"),
	"alloc":           signature("i", "i"),
	"_initialize":     signature("", ""),
}

// needAlloc are those whose arguments are written into memory that alloc gives.
var needAlloc = []string{"weigh", "validate", "configure"}

// signature makes a type of letters: i is i32, l is i64.
func signature(params, results string) wasm.FuncType {
	types := func(s string) (list []wasm.ValueType) {
		for _, c := range s {
			list = append(list, map[rune]wasm.ValueType{'i': wasm.I32, 'l': wasm.I64}[c])
		}
		return list
	}
	return wasm.FuncType{Params: types(params), Results: types(results)}
}

// checkInterface compares what m imports and exports with what there is.
func checkInterface(m *wasm.Module) error {
	for _, i := range m.Imports {
		if err := checkImport(i); err != nil {
			return err
		}
	}
	found := map[string]bool{}
	for _, e := range m.Exports {
		want, ok := exports[e.Name]
		if !ok || e.Kind != wasm.KindFunc {
			continue
		}
		if e.Type.String() != want.String() {
			return fmt.Errorf("the export %s has the type %s, and must have %s", e.Name, e.Type, want)
		}
		found[e.Name] = true
	}
	return checkFound(found)
}

func checkFound(found map[string]bool) error {
	if !found["xlb_abi_version"] {
		return fmt.Errorf("the module does not export xlb_abi_version() -> i32")
	}
	if !found["flow"] && !found["weigh"] && !found["probe"] {
		return fmt.Errorf("the module exports none of flow, weigh and probe")
	}
	for _, f := range needAlloc {
		if found[f] && !found["alloc"] {
			return fmt.Errorf("the module exports %s, which needs alloc(i32) -> i32 beside it", f)
		}
	}
	return nil
}

func checkImport(i wasm.Import) error {
	switch i.Module {
	case hostModule:
		f, ok := hostFunctions[i.Name]
		if !ok {
			return fmt.Errorf("the module imports %s.%s, which is unknown (known: %s)",
				i.Module, printable(i.Name, 64), strings.Join(slices.Sorted(maps.Keys(hostFunctions)), ", "))
		}
		if i.Type.String() != f.signature.String() {
			return fmt.Errorf("the import %s.%s has the type %s, and must have %s", i.Module, i.Name, i.Type, f.signature)
		}
		return nil
	case wasiModule:
		if !slices.Contains(wasiFunctions, i.Name) {
			return fmt.Errorf("the module imports %s.%s, which is unknown", i.Module, printable(i.Name, 64))
		}
		return nil
	}
	hint := ""
	if i.Module == "env" && i.Name == "abort" {
		hint = " (AssemblyScript: build with --use abort=)"
	}
	return fmt.Errorf("the module imports %s.%s; only functions of %s and %s can be imported%s",
		printable(i.Module, 64), printable(i.Name, 64), hostModule, wasiModule, hint)
}

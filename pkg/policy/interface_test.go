package policy

import (
	"context"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy/wasm"
)

// TestInterface: a module that does not fit is refused by the name of what is wrong.
func TestInterface(t *testing.T) {
	nothing := signature("", "")
	tests := map[string]struct {
		module []byte
		want   string
	}{
		"empty file":     {[]byte("\x00asm"), "not a WebAssembly module"},
		"cut":            {[]byte("\x00asm\x01\x00\x00\x00\x01\x05\x01"), "malformed module: at byte 10: unexpected end"},
		"nothing inside": {[]byte("\x00asm\x01\x00\x00\x00"), "does not export xlb_abi_version() -> i32"},
		"no version":     {assemble(nil, []function{flowReturns(0)}, -1), "does not export xlb_abi_version() -> i32"},
		"no hook":        {assemble(nil, []function{abiVersion(1)}, -1), "exports none of flow, weigh and probe"},
		"type of flow": {assemble(nil, []function{abiVersion(1), {"flow", "i", "i", []byte{wI32, 0}}}, -1),
			"the export flow has the type (i32) -> i32, and must have (i64, i64, i64, i64, i32, i32, i32, i32, i64, i32) -> i64"},
		"type of version": {assemble(nil, []function{{"xlb_abi_version", "", "l", []byte{wI64, 1}}}, -1),
			"the export xlb_abi_version has the type () -> i64, and must have () -> i32"},
		"no alloc": {assemble(nil, []function{abiVersion(1), {"weigh", "iii", "i", []byte{wI32, 0}}}, -1),
			"exports weigh, which needs alloc(i32) -> i32 beside it"},
		"unknown import": {assemble([]wasm.Import{{Module: "xlb", Name: "open", Type: nothing}}, nil, -1),
			"imports xlb.open, which is unknown (known: conn_read, conn_write, count, log, now, random, set_reason, set_role, table_lookup)"},
		"type of import": {assemble([]wasm.Import{{Module: "xlb", Name: "now", Type: nothing}}, nil, -1),
			"the import xlb.now has the type () -> (), and must have () -> i64"},
		"other module": {assemble([]wasm.Import{{Module: "env", Name: "abort", Type: nothing}}, nil, -1),
			"imports env.abort; only functions of xlb and wasi_snapshot_preview1 can be imported (AssemblyScript: build with --use abort=)"},
		"unknown of WASI": {assemble([]wasm.Import{{Module: wasiModule, Name: "fork", Type: nothing}}, nil, -1),
			"imports wasi_snapshot_preview1.fork, which is unknown"},
		"imported memory": {[]byte("\x00asm\x01\x00\x00\x00\x02\x07\x01\x01e\x01m\x02\x00\x01"), "imports the memory e.m; only functions can be imported"},
	}
	dir := t.TempDir()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Open(write(t, dir, "policy.wasm", tt.module))
			wants(t, err, dir+"/policy.wasm: ", tt.want)
		})
	}
}

// TestLoadErrors: what only running the module shows is told with its name.
func TestLoadErrors(t *testing.T) {
	r := newRuntime(t, Options{})
	quick := func(s *model.Policy) { s.Timeout = 100 * time.Millisecond }
	tests := map[string]struct {
		module []byte
		want   string
	}{
		"other version": {assemble(nil, []function{abiVersion(2), flowReturns(0)}, -1),
			`policy "p": load: it is written for version 2 of the interface, this is version 1`},
		"endless start function": {assemble(nil, []function{abiVersion(1), flowReturns(0), {"", "", "", endless}}, 2),
			`policy "p": start: `},
		"endless _initialize": {assemble(nil, []function{abiVersion(1), flowReturns(0), {"_initialize", "", "", endless}}, -1),
			`policy "p": start: it did not end within 100ms`},
		"start function traps": {assemble(nil, []function{abiVersion(1), flowReturns(0), {"", "", "", []byte{wUnreachable}}}, 2),
			`policy "p": start: trap: unreachable`},
		"endless version": {assemble(nil, []function{{"xlb_abi_version", "", "i", append(append([]byte{}, endless...), wUnreachable)}, flowReturns(0)}, -1),
			`policy "p": load: xlb_abi_version: it did not end within 100ms`},
		"invalid code": {assemble(nil, []function{abiVersion(1), {"flow", "lllliiiili", "l", []byte{wI32, 0}}}, -1),
			`policy "p": load: the module is not valid: `},
		"invalid instruction": {assemble(nil, []function{abiVersion(1), {"flow", "lllliiiili", "l", []byte{0x06}}}, -1),
			`policy "p": load: function 1: at byte `},
	}
	dir := t.TempDir()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			spec := model.Policy{Name: "p", Path: write(t, dir, "policy.wasm", tt.module)}
			quick(&spec)
			start := time.Now()
			p, err := r.Load(context.Background(), spec)
			if err == nil {
				p.Close(context.Background())
			}
			wants(t, err, tt.want)
			if d := time.Since(start); d > 3*time.Second {
				t.Errorf("it took %v to refuse it", d)
			}
		})
	}
}

// TestModuleAlone: a module without a manifest is a policy too.
func TestModuleAlone(t *testing.T) {
	r := newRuntime(t, Options{})
	path := write(t, t.TempDir(), "My Policy.wasm", assemble(nil, []function{abiVersion(1), flowReturns(1)}, -1))
	p, err := r.Load(context.Background(), model.Policy{Name: "alone", Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	b := p.Bundle()
	if b.Manifest.Name != "my-policy" || len(b.Hooks) != 1 || b.Hooks[0] != HookFlow || !b.Has(HookFlow) || b.Has(HookWeigh) {
		t.Errorf("manifest %+v, hooks %v", b.Manifest, b.Hooks)
	}
	if v, err := worker(t, p).Flow(from(1)); err != nil || v != (Verdict{Action: ActionDrop}) {
		t.Errorf("%+v %v", v, err)
	}
	_, err = p.Weigh(context.Background(), nil)
	wants(t, err, `policy "alone": weigh: the policy has no such hook`)
	_, err = r.Load(context.Background(), model.Policy{Name: "alone", Path: path, Config: []byte(`{"a": 1}`)})
	wants(t, err, `policy "alone": load: the policy takes no configuration`)
}

package plugins

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/xlb-io/xlb/plugins/sdk/go/xlb"
	"github.com/xlb-io/xlb/plugins/sdk/go/xlb/flow"
)

var kits = map[string][]string{
	"c": {"clang", "--target=wasm32", "-std=c11", "-Xclang", "-O2", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-nostdlib", "-Isdk/c",
		"-Wl,--no-entry,--strip-all,--stack-first", "-o", "{out}", "testdata/kit.c"},
	"rust": {"rustc", "--edition", "2021", "--target", "wasm32-unknown-unknown", "--crate-type", "cdylib", "-Copt-level=2",
		"-Cpanic=abort", "-Dwarnings", "-o", "{out}", "testdata/kit.rs"},
	"assemblyscript": {asc, "testdata/kit.ts", "-O3", "--runtime", "stub", "--use", "abort=", "--outFile", "{out}"},
	"go":             {"env", "GOOS=wasip1", "GOARCH=wasm", "go", "build", "-buildmode=c-shared", "-o", "{out}", "./testdata/kit"},
}

// The SDKs of all languages do the same, and speak ABI version 1.
func TestSDK(t *testing.T) {
	for lang, argv := range kits {
		t.Run(lang, func(t *testing.T) {
			need(t, lang)
			k := newKit(t, argv)
			if v := k.call("xlb_abi_version"); v != 1 {
				t.Errorf("ABI version %d", v)
			}
			t.Run("addresses", k.addresses)
			t.Run("flow", k.flow)
			t.Run("weigh", k.weigh)
			t.Run("probe", k.probe)
			t.Run("config", k.config)
		})
	}
}

// kit is a module of testdata with a host that notes what it is asked.
type kit struct {
	t      *testing.T
	module api.Module
	calls  []string
}

func newKit(t *testing.T, argv []string) *kit {
	t.Helper()
	out := filepath.Join(t.TempDir(), "kit.wasm")
	build(t, ".", argv, out)
	binary, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	runtime := wazero.NewRuntime(t.Context())
	t.Cleanup(func() { runtime.Close(context.Background()) })
	wasi_snapshot_preview1.MustInstantiate(t.Context(), runtime)
	k := &kit{t: t}
	k.host(runtime)
	k.module, err = runtime.InstantiateWithConfig(t.Context(), binary, wazero.NewModuleConfig().WithStartFunctions("_initialize"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *kit) host(runtime wazero.Runtime) {
	note := func(format string, args ...any) { k.calls = append(k.calls, fmt.Sprintf(format, args...)) }
	text := func(m api.Module, at, length uint32) string {
		bytes, ok := m.Memory().Read(at, length)
		if !ok {
			k.t.Errorf("%d bytes at %d are not in the memory", length, at)
		}
		return string(bytes)
	}
	b := runtime.NewHostModuleBuilder("xlb")
	for name, f := range map[string]any{
		"now":    func() uint64 { return 1000 },
		"random": func() uint64 { return 4 },
		"count":  func(counter uint32, delta int64) { note("count %d %d", counter, delta) },
		"log":    func(_ context.Context, m api.Module, level, at, n uint32) { note("log %d %s", level, text(m, at, n)) },
		"table_lookup": func(table uint32, hi, lo uint64) int64 {
			note("lookup %d %d %d", table, hi, lo)
			if table == 1 {
				return 30
			}
			return -1
		},
		"conn_write": func(_ context.Context, m api.Module, at, n uint32) int32 {
			note("write %s", text(m, at, n))
			return int32(n)
		},
		"conn_read": func(_ context.Context, m api.Module, at, n uint32) int32 {
			note("read %d", n)
			m.Memory().WriteString(at, "got it")
			return 6
		},
		"set_reason": func(_ context.Context, m api.Module, at, n uint32) { note("reason %s", text(m, at, n)) },
		"set_role":   func(_ context.Context, m api.Module, at, n uint32) { note("role %s", text(m, at, n)) },
	} {
		b.NewFunctionBuilder().WithFunc(f).Export(name)
	}
	if _, err := b.Instantiate(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
}

func (k *kit) call(name string, args ...uint64) uint64 {
	k.t.Helper()
	f := k.module.ExportedFunction(name)
	if f == nil {
		k.t.Fatalf("%s is not exported", name)
	}
	got, err := f.Call(context.Background(), args...)
	if err != nil {
		k.t.Fatalf("%s: %v", name, err)
	}
	return got[0]
}

// write puts bytes into the host's buffer.
func (k *kit) write(bytes []byte) uint64 {
	k.t.Helper()
	at := k.call("alloc", uint64(len(bytes)))
	if at == 0 || at%8 != 0 || !k.module.Memory().Write(uint32(at), bytes) {
		k.t.Fatalf("alloc(%d) is %d", len(bytes), at)
	}
	return at
}

func (k *kit) addresses(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		a := xlb.Address{Hi: rng.Uint64(), Lo: rng.Uint64()}
		if rng.IntN(2) == 0 {
			a = xlb.Address{Lo: 0xffff<<32 | a.Lo&0xffffffff}
		}
		ipv4, ipv6, seed := rng.IntN(33), rng.IntN(129), rng.Uint64()
		want := a.Prefix(ipv4, ipv6)
		got := xlb.Address{
			Hi: k.call("prefix_hi", a.Hi, a.Lo, uint64(ipv4), uint64(ipv6)),
			Lo: k.call("prefix_lo", a.Hi, a.Lo, uint64(ipv4), uint64(ipv6)),
		}
		if got != want {
			t.Fatalf("the prefix /%d or /%d of %v is %v, want %v", ipv4, ipv6, a.Netip(), got.Netip(), want.Netip())
		}
		if got := k.call("hash", a.Hi, a.Lo, seed); got != a.Hash(seed) {
			t.Fatalf("the hash of %v is %#x, want %#x", a.Netip(), got, a.Hash(seed))
		}
	}
}

func (k *kit) flow(t *testing.T) {
	const operand, reason = 0xfedcba98, 0xabcd
	for kind, want := range []flow.Verdict{
		flow.Continue(reason), flow.Drop(reason), flow.Reject(reason), flow.Backend(operand, reason), flow.Subset(operand, reason),
		flow.ByHash(operand, reason), flow.ByHash(1*1+2*2+3*3+5*4+7*6+11*18+13*77+17*9, 0),
	} {
		hash := uint64(operand)
		if kind == 6 {
			hash = 77
		}
		if got := k.call("flow", 1, 2, 3, 4, uint64(kind), reason, 6, 18, hash, 9); got != uint64(want) {
			t.Errorf("verdict %d is %#x, want %#x", kind, got, uint64(want))
		}
	}
}

// backend is the record of a backend, up to the answer.
type backend struct {
	last                                     byte // of the address
	port                                     uint16
	state                                    byte
	weight, tier                             uint32
	zone, tags                               string
	latency, flows, flowsTotal, errorsTotal  uint64
	wantWeight, wantTier, wantEject, wantSum int32
}

func (k *kit) weigh(t *testing.T) {
	backends := []backend{
		{9, 80, 1, 5, 3, "z", "a,b", 1, 2, 4, 8, 85, 4, 1, 24},
		{1, 0, 0, 65000, 0, "", "b", 0, 0, 0, 0, 65000, 1, 0, 1},
		{2, 443, 2, 5, 1, "zz", "bb,ab", 1 << 10, 0, 0, 0, 0, 1, 0, 1026},
		{3, 443, 3, 5, 255, "y", "", 0, 1 << 11, 0, 0, 0, 255, 0, 2051},
		{4, 443, 1, 0, 0, "z", "c,b,d", 0, 0, 1 << 12, 0, 0, 1, 1, 4100},
	}
	records, strings := k.records(backends)
	if got := k.call("weigh", records, uint64(len(backends)), strings); got != 0 {
		t.Fatalf("error %d", got)
	}
	for i, b := range backends {
		bytes, _ := k.module.Memory().Read(uint32(records)+96*uint32(i)+80, 16)
		var got, want [4]int32
		for j := range got {
			got[j] = int32(binary.LittleEndian.Uint32(bytes[4*j:]))
		}
		want = [4]int32{b.wantWeight, b.wantTier, b.wantEject, b.wantSum}
		if got != want {
			t.Errorf("backend %d: weight, tier, eject and sum are %v, want %v", i, got, want)
		}
	}
	backends[1].errorsTotal = 99
	records, strings = k.records(backends)
	if got := k.call("weigh", records, uint64(len(backends)), strings); got == 0 {
		t.Error("an error is none")
	}
}

// records writes backends as the host does: records, and behind them the texts.
func (k *kit) records(backends []backend) (at, strings uint64) {
	size := 96 * len(backends)
	for _, b := range backends {
		size += len(b.zone) + len(b.tags)
	}
	at = k.write(make([]byte, size))
	e := binary.LittleEndian
	var all, texts []byte
	text := func(record []byte, s string) {
		e.PutUint32(record, uint32(at)+uint32(96*len(backends)+len(texts)))
		e.PutUint32(record[4:], uint32(len(s)))
		texts = append(texts, s...)
	}
	for _, b := range backends {
		r := make([]byte, 96)
		r[10], r[11], r[15], r[18] = 0xff, 0xff, b.last, b.state
		e.PutUint16(r[16:], b.port)
		e.PutUint32(r[20:], b.weight)
		e.PutUint32(r[24:], b.tier)
		text(r[28:], b.zone)
		text(r[36:], b.tags)
		for i, n := range []uint64{b.latency, b.flows, b.flowsTotal, b.errorsTotal} {
			e.PutUint64(r[48+8*i:], n)
		}
		e.PutUint64(r[80:], ^uint64(0)) // leave weight and tier
		all = append(all, r...)
	}
	k.module.Memory().Write(uint32(at), slices.Concat(all, texts))
	return at, uint64(size)
}

func (k *kit) probe(t *testing.T) {
	k.calls = nil
	if got := k.call("probe", 1234); got != 0 {
		t.Errorf("probe says %d", got)
	}
	want := []string{
		"log 2 careful", "count 3 -5", "write hello", "read 16", "reason got it", "role primary", "lookup 1 10 20", "lookup 2 0 77",
	}
	if d := cmp.Diff(want, k.calls); d != "" {
		t.Error(d)
	}
}

func (k *kit) config(t *testing.T) {
	const wrong = "number: it is missing"
	good := []byte(`{"number": 5}`)
	if got := k.call("validate", k.write(good), uint64(len(good))); got != 0 {
		t.Errorf("validate says %#x", got)
	}
	for _, bad := range []string{"", "{}", `{"number": null}`} {
		place := k.call("validate", k.write([]byte(bad)), uint64(len(bad)))
		text, _ := k.module.Memory().Read(uint32(place>>32), uint32(place))
		if string(text) != wrong {
			t.Errorf("validate(%s) says %q", bad, text)
		}
	}
	if got := k.call("configure", k.write(good), uint64(len(good)), 7_000_000, 600); got != 0 {
		t.Errorf("configure says %d", got)
	}
	// The monotonic clock stands at 1000.
	const want = 7_000_000 + 1000 - 600 + 5
	if got := k.call("configure", k.write([]byte("{}")), 2, 1, 1); got == 0 {
		t.Error("configure takes what validate does not")
	}
	if got := k.call("state"); got != want {
		t.Errorf("time and number are %d, want %d", got, want)
	}
}

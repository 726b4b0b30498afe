package policy

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy/wasm"
)

// BenchmarkFlow is a call of the hook, with all counting; and the module's bare call
// with and without fuel, and with a deadline in place of it.
func BenchmarkFlow(b *testing.B) {
	r := newRuntime(b, Options{})
	p := load(b, r, "pick", "")
	f := from(40000)
	b.Run("worker", func(b *testing.B) {
		w := worker(b, p)
		for b.Loop() {
			if _, err := w.Flow(f); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, n := range []int{1, 3} {
		b.Run(fmt.Sprintf("chain-%d", n), func(b *testing.B) {
			var links []Link
			for i := range n {
				q := load(b, r, "pick", "", func(s *model.Policy) { s.Name = fmt.Sprintf("p%d", i) })
				links = append(links, Link{q, model.PolicyShadow})
			}
			w, c := chainWorker(b), NewChain(links...)
			for b.Loop() {
				w.Decide(c, f)
			}
		})
	}
	bare := func(module []byte, set bool) func(*testing.B) {
		return func(b *testing.B) {
			ctx := context.Background()
			rt := wazero.NewRuntime(ctx)
			defer rt.Close(ctx)
			mod, err := rt.Instantiate(ctx, module)
			if err != nil {
				b.Fatal(err)
			}
			in := &instance{p: p, mod: mod, flow: mod.ExportedFunction("flow")}
			in.calls = callContext{ctx, in}
			if set {
				in.fuel = fuelOf(mod)
			}
			for b.Loop() {
				if set {
					in.fuel.Set(100000)
				}
				f.write(&in.stack)
				if err := in.flow.CallWithStack(&in.calls, in.stack[:]); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.Run("bare", bare(p.bundle.Module, false))
	fueled, err := p.rewritten()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("bare-fuel", bare(fueled, true))
	b.Run("deadline", func(b *testing.B) {
		in, err := p.start(b.Context(), true, p.config.Load())
		if err != nil {
			b.Fatal(err)
		}
		defer in.close()
		for b.Loop() {
			ctx, cancel := p.within(b.Context())
			in.calls.Context = ctx
			if _, _, err := in.ask(f); err != nil {
				b.Fatal(err)
			}
			cancel()
		}
	})
}

// BenchmarkLoadGo is a policy in Go, compiled anew and from the cache.
func BenchmarkLoadGo(b *testing.B) {
	path := buildGo(b)
	once := func(dir string) {
		r, err := NewRuntime(b.Context(), Options{CacheDir: dir})
		if err != nil {
			b.Fatal(err)
		}
		defer r.Close(b.Context())
		p, err := r.Load(b.Context(), model.Policy{Name: "go", Path: path})
		if err != nil {
			b.Fatal(err)
		}
		p.Close(b.Context())
	}
	b.Run("compiled", func(b *testing.B) {
		for b.Loop() {
			once("")
		}
	})
	b.Run("cached", func(b *testing.B) {
		dir := b.TempDir()
		once(dir)
		for b.Loop() {
			once(dir)
		}
	})
}

// BenchmarkLoop is a rendezvous hash over 16 backends, bare and with fuel.
func BenchmarkLoop(b *testing.B) {
	r := newRuntime(b, Options{})
	p := load(b, r, "pick", "")
	fueled, err := p.rewritten()
	if err != nil {
		b.Fatal(err)
	}
	for name, module := range map[string][]byte{"bare": p.bundle.Module, "fuel": fueled} {
		b.Run(name, func(b *testing.B) {
			ctx := context.Background()
			rt := wazero.NewRuntime(ctx)
			defer rt.Close(ctx)
			mod, err := rt.Instantiate(ctx, module)
			if err != nil {
				b.Fatal(err)
			}
			call := mod.ExportedFunction("rendezvous")
			stack := []uint64{0, 0}
			for b.Loop() {
				if name == "fuel" {
					fuelOf(mod).Set(100000)
				}
				stack[0], stack[1] = 12345, 16
				if err := call.CallWithStack(ctx, stack); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func fuelOf(mod api.Module) api.MutableGlobal {
	return mod.ExportedGlobal(wasm.FuelExport).(api.MutableGlobal)
}

func BenchmarkInstantiate(b *testing.B) {
	r := newRuntime(b, Options{})
	p := load(b, r, "pick", "")
	for b.Loop() {
		in, err := p.start(b.Context(), false, p.config.Load())
		if err != nil {
			b.Fatal(err)
		}
		in.close()
	}
}

func BenchmarkWeigh(b *testing.B) {
	p := load(b, newRuntime(b, Options{}), "guest", number(5))
	in := make([]WeighInput, 100)
	for i := range in {
		in[i].Address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80)
	}
	for b.Loop() {
		if _, err := p.Weigh(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTable is a look-up among 100,000 prefixes, and the same by a module.
func BenchmarkTable(b *testing.B) {
	p := load(b, newRuntime(b, Options{}), "guest", "")
	entries := make([]TableEntry, 100_000)
	for i := range entries {
		entries[i].Key = fmt.Sprintf("10.%d.%d.0/24", i>>8&0xff, i&0xff)
		if i >= 1<<16 {
			entries[i].Key = fmt.Sprintf("2001:db8:%x::/48", i-1<<16)
		}
	}
	if err := p.SetTable("clients", entries); err != nil {
		b.Fatal(err)
	}
	b.Run("lookup", func(b *testing.B) {
		c := p.tables[0].contents.Load()
		hi, lo := halves(netip.MustParseAddr("10.20.30.40"))
		for b.Loop() {
			if _, ok := c.lookup(hi, lo); !ok {
				b.Fatal("not found")
			}
		}
	})
	b.Run("flow", func(b *testing.B) {
		w := worker(b, p)
		f := from(1)
		for b.Loop() {
			if _, err := w.Flow(f); err != nil {
				b.Fatal(err)
			}
		}
	})
}

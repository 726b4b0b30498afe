package wasm

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func read(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rewrite returns b with fuel and at most 4 pages of memory.
func rewrite(t testing.TB, b []byte, fuel int64) []byte {
	t.Helper()
	m, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	out, err := m.Rewrite(Options{Fuel: fuel, MemoryPages: 4})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// interpreter and compiler are wazero's two ways to run a module.
func interpreter() wazero.RuntimeConfig {
	return wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(api.CoreFeaturesV2).WithDebugInfoEnabled(false)
}

func compiler() wazero.RuntimeConfig {
	return wazero.NewRuntimeConfigCompiler().WithCoreFeatures(api.CoreFeaturesV2).WithDebugInfoEnabled(false)
}

// instantiate runs b in a runtime of its own, with "host" "f" for an import.
func instantiate(t testing.TB, c wazero.RuntimeConfig, b []byte) api.Module {
	t.Helper()
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, c)
	t.Cleanup(func() { rt.Close(ctx) })
	host := rt.NewHostModuleBuilder("host")
	host.NewFunctionBuilder().WithFunc(func() {}).Export("f")
	if _, err := host.Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	mod, err := rt.Instantiate(ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	return mod
}

// TestModulesAreTheirText holds the committed modules against their text.
func TestModulesAreTheirText(t *testing.T) {
	if _, err := exec.LookPath("wat2wasm"); err != nil {
		t.Skip("wat2wasm is not installed")
	}
	files, _ := filepath.Glob("testdata/*.wat")
	if len(files) == 0 {
		t.Fatal("no .wat in testdata")
	}
	for _, file := range files {
		out, err := exec.Command("wat2wasm", file, "--output=-").Output()
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if !bytes.Equal(out, read(t, strings.TrimSuffix(filepath.Base(file), ".wat")+".wasm")) {
			t.Errorf("%s: the .wasm beside it is another", file)
		}
	}
}

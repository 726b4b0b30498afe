package policy

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/model"
)

// buildGo builds the policy in Go.
func buildGo(t testing.TB) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "golang.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", out, "./testdata/golang")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return out
}

// TestGo: a policy in Go runs, which needs WASI, a start, goroutines and a garbage
// collector.
func TestGo(t *testing.T) {
	r, l := newLogged(t)
	p, err := r.Load(context.Background(), model.Policy{Name: "go", Path: buildGo(t), Config: []byte(`{"percent": 50}`)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(context.Background()) })
	w := worker(t, p)
	for hash, want := range map[uint64]Action{149: ActionHash, 150: ActionContinue} {
		f := from(9)
		f.Hash = hash
		if v, err := w.Flow(f); err != nil || v.Action != want {
			t.Errorf("%+v %v", v, err)
		}
	}
	for port, want := range map[uint16]Action{2: ActionDrop, 3: ActionReject} {
		if v, err := w.Flow(from(port)); err != nil || v.Action != want {
			t.Errorf("port %d: %+v %v", port, v, err)
		}
		t.Logf("port %d: %d of fuel", port, w.Fuel())
	}
	for range 40000 {
		if _, err := w.Flow(from(2)); err != nil {
			t.Fatalf("with garbage: %v", err)
		}
	}
	for port, want := range map[uint16]string{1: "trap: unreachable in flow", 4: "out of fuel (100000)"} {
		_, err = w.Flow(from(port))
		wants(t, err, `policy "go": flow: `+want)
	}
	if v, err := w.Flow(from(3)); err != nil || v.Action != ActionReject {
		t.Errorf("after failures: %+v %v", v, err)
	}
	for _, text := range []string{`level=WARN msg="percent: 50"`, "panic: told to"} {
		if !strings.Contains(l.String(), text) {
			t.Errorf("%q is not in the log:\n%s", text, l.String())
		}
	}
	wants(t, p.Configure(t.Context(), []byte(`{"percent": 101}`)), "the configuration is refused with error 1")
}

package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newRuntime(t testing.TB, o Options) *Runtime {
	t.Helper()
	r, err := NewRuntime(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// newLogged is a runtime whose log can be read.
func newLogged(t testing.TB) (*Runtime, *testlab.Buffer) {
	l := &testlab.Buffer{}
	return newRuntime(t, Options{Log: slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))}), l
}

// load loads the bundle called so in testdata with a configuration.
func load(t testing.TB, r *Runtime, bundle, config string, change ...func(*model.Policy)) *Policy {
	t.Helper()
	p, err := tryLoad(t, r, bundle, config, change...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func tryLoad(t testing.TB, r *Runtime, bundle, config string, change ...func(*model.Policy)) (*Policy, error) {
	spec := model.Policy{Name: "test-" + bundle, Path: filepath.Join("testdata", bundle), Config: json.RawMessage(config)}
	for _, c := range change {
		c(&spec)
	}
	p, err := r.Load(context.Background(), spec)
	if err == nil {
		t.Cleanup(func() { p.Close(context.Background()) })
	}
	return p, err
}

func worker(t testing.TB, p *Policy) *Worker {
	t.Helper()
	w, err := p.NewWorker(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close(context.Background()) })
	return w
}

// from is a flow from a source port, which tells the test policies what to do.
func from(port uint16) *FlowInput {
	return &FlowInput{
		Source:      netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port),
		Destination: netip.MustParseAddrPort("203.0.113.10:443"),
		Protocol:    model.TCP, TCPFlags: 2, Hash: 0x123456789abcdef0, Backends: 4,
	}
}

// wants fails the test unless err has all texts.
func wants(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", texts)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q, want one with %q", err, text)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("an error of several lines: %q", err)
	}
}

// eventually polls until ok, or fails the test after ten seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestModulesAreTheirText holds the committed modules against their text.
func TestModulesAreTheirText(t *testing.T) {
	if _, err := exec.LookPath("wat2wasm"); err != nil {
		t.Skip("wat2wasm is not installed")
	}
	files, _ := filepath.Glob("testdata/*/*.wat")
	if len(files) == 0 {
		t.Fatal("no .wat in testdata")
	}
	for _, file := range files {
		want, err := exec.Command("wat2wasm", file, "--output=-").Output()
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		got, err := os.ReadFile(strings.TrimSuffix(file, ".wat") + ".wasm")
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: the .wasm beside it is another (%v)", file, err)
		}
	}
}

// write writes a file into a directory of the test's.
func write(t testing.TB, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func number(n int) string { return fmt.Sprintf(`{"number": %d}`, n) }

// oneOf returns the first line that has the text.
func oneOf(lines, text string) string {
	for line := range strings.Lines(lines) {
		if strings.Contains(line, text) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

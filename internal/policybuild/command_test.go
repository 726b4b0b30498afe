package policybuild

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/xlb-io/xlb/pkg/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNewCommand(t *testing.T) {
	c, err := newCommand(&policy.Manifest{Module: "a.wasm", Language: "c", Build: []string{"env", "A=1", "B=x=y", "tool", "-o{out}", "env", "C=2"}})
	if err != nil {
		t.Fatal(err)
	}
	if c.tool != "tool" || !cmp.Equal(c.env, []string{"A=1", "B=x=y"}) || !cmp.Equal(c.args, []string{"-oa.wasm", "env", "C=2"}) {
		t.Errorf("%+v", c)
	}
	if got, want := c.argv(), []string{"env", "A=1", "B=x=y", "tool", "-oa.wasm", "env", "C=2"}; !cmp.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for _, lang := range Languages() {
		if c, err := newCommand(&policy.Manifest{Module: "a.wasm", Language: lang}); err != nil || c.tool == "" || c.tool == "env" {
			t.Errorf("%s: %+v, %v", lang, c, err)
		}
	}
}

// What a build started does not outlive it, nor keep it.
func TestRunEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := &command{tool: "sh", args: []string{"-c", "touch begun; exec sleep 60"}}
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(dir, "begun")); err == nil {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	began := time.Now()
	var out bytes.Buffer
	if err := c.run(ctx, dir, &out); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestTemplateLeavesFilesAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "policy.c"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Template{Name: "rule", Language: "c", Hook: policy.HookFlow}.Write(dir)
	if !errors.Is(err, os.ErrExist) {
		t.Errorf("%v", err)
	}
	if data, _ := os.ReadFile(filepath.Join(dir, "policy.c")); string(data) != "mine" {
		t.Errorf("%q", data)
	}
}

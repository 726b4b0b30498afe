package policytest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/xlb-io/xlb/pkg/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kit is a policy that can be asked for all kinds of answers.
func kit(t *testing.T) *policy.Bundle {
	t.Helper()
	b, err := policy.Open("testdata/kit")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func run(t *testing.T, text string) []Outcome {
	t.Helper()
	out, err := Run(t.Context(), kit(t), parsed(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestKitIsItsText(t *testing.T) {
	if _, err := exec.LookPath("wat2wasm"); err != nil {
		t.Skip("wat2wasm is not installed")
	}
	out, err := exec.Command("wat2wasm", "testdata/kit/kit.wat", "--output=-").Output()
	if err != nil {
		t.Fatal(err)
	}
	if have, err := os.ReadFile("testdata/kit/kit.wasm"); err != nil || !bytes.Equal(have, out) {
		t.Errorf("testdata/kit/kit.wasm is another (%v)", err)
	}
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	vectors, err := Load(filepath.Join("testdata/kit", kit(t).Manifest.Tests))
	if err != nil {
		t.Fatal(err)
	}
	out, err := Run(t.Context(), kit(t), vectors)
	if err != nil || len(out) != len(vectors) {
		t.Fatalf("%d outcomes of %d vectors: %v", len(out), len(vectors), err)
	}
	for i, o := range out {
		if !o.Passed || o.Name != vectors[i].Name || o.Line != vectors[i].Line || o.Differences != nil || o.Log != nil {
			t.Errorf("%+v", o)
		}
	}
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// What is other than wanted is said in words.
func TestDifferences(t *testing.T) {
	flow := func(port string) string { return `flow: {source: "192.0.2.7:` + port + `", vip: "203.0.113.10:80"}` }
	for _, c := range []struct {
		vector string
		want   []string
	}{
		{flow("10") + "\n  want: {action: drop, reason: 1}", []string{"action is continue, want drop", "reason is 0, want 1 (listed)"}},
		{flow("3") + "\n  want: {action: subset, subset: spare}", []string{"subset is canary, want spare"}},
		{flow("10") + "\n  want: {action: continue, subset: spare}", []string{"there is no subset"}},
		{flow("4") + "\n  want: {action: hash, hash: 1}", []string{"hash is 0, want 1"}},
		{flow("5") + "\n  want: {action: backend, backend: 1}", []string{"backend is 0, want 1"}},
		{flow("10") + "\n  want: {action: continue, counters: {calls: 2, other: 1}}", []string{"counter calls is 1, want 2", `there is no counter "other"`}},
		{flow("10") + "\n  want: {error: trap}", []string{`there is no error, want one with "trap"`}},
		{"weigh: {backends: [{address: \"10.0.0.1:80\", errors_total: 1}]}\n  want: [{weight: 1, tier: 0, reason: 3}]",
			[]string{"weight of 10.0.0.1:80 is 2, want 1", "tier of 10.0.0.1:80 is 3, want 0", "eject of 10.0.0.1:80 is true, want false", "reason of 10.0.0.1:80 is 2 (errors), want 3"}},
		{"probe: {script: [{expect: \"HELLO\\r\\n\"}]}\n  want: {state: healthy, role: replica}",
			[]string{`step 1 of the script: the policy wrote "PING\r\n", want "HELLO\r\n"`, "state is unhealthy, want healthy", "role is , want replica"}},
		{"probe: {script: [{send: \"+PONG\\r\\n\"}, {expect: \"PING\\r\\n\"}, {expect: x}]}\n  want: {state: healthy}",
			[]string{`step 3 of the script: the policy wrote "", want "x"`}},
		{"validate: {a: 1}\n  want: {error: too long}", []string{`there is no error, want one with "too long"`}},
		{"config: {a: a text that is longer}\n  " + flow("10") + "\n  want: {action: continue}", []string{"too long"}},
		{"tables: {allow: {}}\n  " + flow("10") + "\n  want: {action: continue}", []string{"allow"}},
		{"tables: {deny: {\"192.0.2.0/99\": 1}}\n  " + flow("10") + "\n  want: {action: continue}", []string{"192.0.2.0/99"}},
	} {
		o := run(t, "- name: a\n  "+c.vector)[0]
		if o.Passed || len(o.Differences) != len(c.want) {
			t.Errorf("%s:\n%q, want %q", c.vector, o.Differences, c.want)
			continue
		}
		for i, d := range o.Differences {
			if !strings.Contains(d, c.want[i]) || strings.Contains(d, "\n") {
				t.Errorf("%s:\n%q, want %q", c.vector, d, c.want[i])
			}
		}
	}
}

// What a policy logged is shown where it does not pass.
func TestLog(t *testing.T) {
	out := run(t, `
- name: fails
  flow: {source: "192.0.2.7:1", vip: "203.0.113.10:80"}
  want: {action: continue}
- name: is wanted
  flow: {source: "192.0.2.7:1", vip: "203.0.113.10:80"}
  want: {error: unreachable}`)
	if !slices.ContainsFunc(out[0].Log, func(l string) bool { return strings.Contains(l, "hello") }) {
		t.Errorf("%+v", out[0])
	}
	if !out[1].Passed || out[1].Log != nil {
		t.Errorf("%+v", out[1])
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out, err := Run(ctx, kit(t), parsed(t, `
- name: a
  flow: {source: "192.0.2.7:10", vip: "203.0.113.10:80"}
  want: {action: continue}`))
	if err != context.Canceled || len(out) != 0 {
		t.Errorf("%v %+v", err, out)
	}
}

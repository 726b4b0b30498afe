package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// asCommand, in the environment, makes the test binary be xlb.
const asCommand = "XLB_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// The present of all tests.
var testNow = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// result is what a command left behind.
type result struct {
	status         int
	stdout, stderr string
}

// xlb runs a command as a script would: no terminal, empty standard input.
func xlb(t *testing.T, args ...string) result {
	t.Helper()
	return xlbIn(t, t.Context(), env{}, args...)
}

// xlbIn runs a command in an environment; what e leaves out is as for [xlb].
func xlbIn(t *testing.T, ctx context.Context, e env, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if e.stdin == nil {
		e.stdin = strings.NewReader("")
	}
	if e.stdout == nil {
		e.stdout = &stdout
	}
	e.stderr = &stderr
	e.now = func() time.Time { return testNow }
	status := run(ctx, e, args)
	return result{status, stdout.String(), stderr.String()}
}

// ok returns the output of a command that must succeed in silence.
func (r result) ok(t *testing.T) string {
	t.Helper()
	if r.status != exitOK || r.stderr != "" {
		t.Fatalf("exit status %d, stderr:\n%s\nstdout:\n%s", r.status, r.stderr, r.stdout)
	}
	return r.stdout
}

// fails checks the exit status, that stderr is one line, and what it says.
func (r result) fails(t *testing.T, status int, want string) {
	t.Helper()
	if r.status != status {
		t.Errorf("exit status %d, want %d", r.status, status)
	}
	if strings.TrimSpace(r.stderr) != want {
		t.Errorf("stderr\n %s\nwant\n %s", strings.TrimSpace(r.stderr), want)
	}
	if r.stdout != "" {
		t.Errorf("a failure printed on stdout:\n%s", r.stdout)
	}
}

// decode reads one JSON document and nothing after it.
func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("not one JSON document: %v\n%s", err, text)
	}
	return v
}

// same compares texts and shows where they part.
func same(t *testing.T, got, want string) {
	t.Helper()
	got, want = strings.Trim(got, "\n"), strings.Trim(want, "\n")
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := 0; i < len(g) && i < len(w); i++ {
		if g[i] != w[i] {
			t.Errorf("line %d:\n got %q\nwant %q", i+1, g[i], w[i])
			break
		}
	}
	t.Errorf("got\n%s\nwant\n%s", got, want)
}

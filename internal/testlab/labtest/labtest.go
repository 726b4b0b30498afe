// Package labtest is what tests say again and again when they stand on [testlab],
// which itself does without testing.
package labtest

import (
	"os"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
)

// Space is a namespace of its own lab, which is gone at the test's end. Without root
// the test is skipped.
func Space(t testing.TB) *testlab.Namespace {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	lab, err := testlab.New("space")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	n, err := lab.Namespace("one")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Must takes the result of a call that a test cannot go on without: Must(f())(t).
func Must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

package backendhost

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Getuid() != 0 {
		return m.Run() // what needs root skips
	}
	before, err := testlab.TakeSnapshot()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := before.Leaks(5 * time.Second); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("BPF programs and network namespaces need root")
	}
}

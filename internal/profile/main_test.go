package profile

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
)

func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "skipped: loading BPF programs needs root")
		os.Exit(0)
	}
	before, err := testlab.TakeSnapshot()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := before.Leaks(5 * time.Second); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

package bpf_test

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
		fmt.Fprintln(os.Stderr, "skipped: loading BPF programs needs root")
		return 0
	}
	before, err := testlab.TakeSnapshot()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	lab, err := testlab.New("bpf")
	if err == nil {
		err = wire(lab)
	}
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	for _, p := range planes {
		if err := p.close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if err := lab.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := before.Leaks(5 * time.Second); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

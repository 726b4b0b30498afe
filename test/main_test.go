package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/loader"
)

// binary is the xlb under test, built with the race detector.
var binary string

// pinPrefix is what the pin directories of this run begin with.
var pinPrefix = fmt.Sprintf("%s-e2e-%d-", loader.DefaultPinDir, os.Getpid())

func TestMain(m *testing.M) {
	testlab.EchoMain()
	os.Exit(testMain(m))
}

// testMain is TestMain with defers.
func testMain(m *testing.M) int {
	if os.Getuid() != 0 {
		return m.Run() // every test skips
	}
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "test:", err)
		return 1
	}
	if _, err := testlab.Sweep(); err != nil {
		return fail(err)
	}
	if err := sweepPins(); err != nil {
		return fail(err)
	}
	dir, err := os.MkdirTemp("", "xlb-e2e-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "xlb")
	if err := build(); err != nil {
		return fail(err)
	}
	before, err := testlab.TakeSnapshot()
	if err != nil {
		return fail(err)
	}
	code := m.Run()
	if err := errors.Join(before.Leaks(5*time.Second), leakedPins(), leakedProcesses()); err != nil {
		return fail(err)
	}
	return code
}

// build makes the binary. The compiler of WebAssembly goes without the race detector,
// under which a module of Go takes ten seconds; the tests of pkg/policy run it with one.
func build() error {
	args := []string{"build", "-race", "-o", binary}
	for _, part := range []string{"frontend", "ssa", "backend/..."} {
		args = append(args, "-gcflags=github.com/tetratelabs/wazero/internal/engine/wazevo/"+part+"=-race=false")
	}
	if out, err := exec.Command("go", append(args, "../cmd/xlb")...).CombinedOutput(); err != nil {
		return fmt.Errorf("build xlb: %w\n%s", err, out)
	}
	return nil
}

// sweepPins removes the pins of runs that were killed.
func sweepPins() error {
	left, err := filepath.Glob(loader.DefaultPinDir + "-e2e-*")
	if err != nil {
		return err
	}
	for _, dir := range left {
		pid, _, _ := strings.Cut(strings.TrimPrefix(dir, loader.DefaultPinDir+"-e2e-"), "-")
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, os.ErrNotExist) {
			if err := os.RemoveAll(dir); err != nil {
				return fmt.Errorf("remove pins of a killed run: %w", err)
			}
		}
	}
	return nil
}

func leakedPins() error {
	left, err := filepath.Glob(pinPrefix + "*")
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("pins are left: %v", left)
	}
	return err
}

// leakedProcesses finds processes that still run the binary.
func leakedProcesses() error {
	executables, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return err
	}
	for _, e := range executables {
		target, err := os.Readlink(e)
		if err == nil && strings.HasPrefix(target, binary) {
			return fmt.Errorf("%s still runs xlb", filepath.Dir(e))
		}
	}
	return nil
}

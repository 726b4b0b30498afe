package demo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
)

// Each demo has a directory of this name, with its process id, in each of the
// parents. Both belong to root, so nobody else can have put something there.
const (
	dirPrefix = "xlb-demo-"
	runParent = "/run"
	pinParent = "/sys/fs/bpf"
)

func ownDir(parent string) string {
	return filepath.Join(parent, dirPrefix+strconv.Itoa(os.Getpid()))
}

// sweep removes what demos left that were killed before they could clean up.
// Their daemons died with them, and the links and firewall tables go with the
// namespaces and the pins.
func sweep() error {
	_, err := testlab.Sweep()
	errs := []error{err}
	for _, parent := range []string{runParent, pinParent} {
		errs = append(errs, sweepDirs(parent))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove what an earlier demo left: %w", err)
	}
	return nil
}

func sweepDirs(parent string) error {
	found, err := os.ReadDir(parent)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var errs []error
	for _, e := range found {
		digits, ok := strings.CutPrefix(e.Name(), dirPrefix)
		pid, err := strconv.Atoi(digits)
		if !ok || err != nil {
			continue
		}
		// A directory of our own id is that of another life of the number.
		if pid == os.Getpid() || errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			errs = append(errs, os.RemoveAll(filepath.Join(parent, e.Name())))
		}
	}
	return errors.Join(errs...)
}

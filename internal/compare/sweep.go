package compare

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

// Each comparison has a directory of this name, with its process id, in each of
// the parents. Both belong to root, so nobody else can have put something there.
const (
	dirPrefix = "xlb-compare-"
	runParent = "/run"
	pinParent = "/sys/fs/bpf"
)

func ownDir(parent string) string {
	return filepath.Join(parent, dirPrefix+strconv.Itoa(os.Getpid()))
}

func ownDirs() []string { return []string{ownDir(runParent), ownDir(pinParent)} }

// sweep removes what comparisons left that were killed before they could clean
// up. Their processes died with them.
func sweep() error {
	_, err := testlab.Sweep()
	errs := []error{err}
	for _, parent := range []string{runParent, pinParent} {
		errs = append(errs, sweepDirs(parent))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove what an earlier comparison left: %w", err)
	}
	return nil
}

func sweepDirs(parent string) error {
	found, err := filepath.Glob(filepath.Join(parent, dirPrefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range found {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), dirPrefix))
		if err != nil {
			continue
		}
		// A directory of our own id is that of another life of the number.
		if pid == os.Getpid() || errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}

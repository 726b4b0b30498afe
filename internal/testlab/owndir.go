package testlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// OwnDirs is the prefix, such as "xlb-demo-", of the directories that a program
// makes for itself, with its process id, in places that belong to root: nobody
// else can have put something there.
type OwnDirs string

// Where such directories are: for files and sockets, and for pins.
const (
	RunParent = "/run"
	PinParent = "/sys/fs/bpf"
)

// In is this process's directory below parent.
func (d OwnDirs) In(parent string) string {
	return filepath.Join(parent, string(d)+strconv.Itoa(os.Getpid()))
}

// Sweep removes what runs of the program left that were killed before they could
// clean up, labs of any program included. Their processes died with them; links
// and firewall tables go with the namespaces and the pins.
func (d OwnDirs) Sweep() error {
	_, err := Sweep()
	err = errors.Join(err, d.sweep(RunParent), d.sweep(PinParent))
	if err != nil {
		return fmt.Errorf("remove what an earlier run left: %w", err)
	}
	return nil
}

func (d OwnDirs) sweep(parent string) error {
	found, err := os.ReadDir(parent)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var errs []error
	for _, e := range found {
		digits, ok := strings.CutPrefix(e.Name(), string(d))
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

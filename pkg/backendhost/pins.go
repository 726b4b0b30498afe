package backendhost

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const bpffsRoot = "/sys/fs/bpf"

func (d Dirs) link() string           { return filepath.Join(d.Pins, "link") }
func (d Dirs) pin(name string) string { return filepath.Join(d.Pins, name) }

// mapNames are those of bpf/lib/decap.h.
var mapNames = []string{sourcesMap, vipsMap, countsMap}

const (
	sourcesMap = "decap_sources"
	vipsMap    = "decap_vips"
	countsMap  = "decap_counts"
)

// preparePins makes the directory, mounting the BPF file system at its usual
// place if the host has not.
func (d Dirs) preparePins() error {
	if !filepath.IsAbs(d.Pins) {
		return fmt.Errorf("pin directory %q is not absolute", d.Pins)
	}
	if strings.HasPrefix(d.Pins, bpffsRoot+"/") && !onBPFFS(bpffsRoot) {
		if err := unix.Mount("bpf", bpffsRoot, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
			return fmt.Errorf("mount the BPF file system on %s: %w (run as root)", bpffsRoot, err)
		}
	}
	if err := os.MkdirAll(d.Pins, 0o700); err != nil {
		return fmt.Errorf("make pin directory: %w", err)
	}
	if !onBPFFS(d.Pins) {
		return fmt.Errorf("pin directory %s is not on a BPF file system (choose one below %s)", d.Pins, bpffsRoot)
	}
	return nil
}

func onBPFFS(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && fs.Type == unix.BPF_FS_MAGIC
}

// removePins removes the maps' pins and the directory, unless it holds what is
// not ours.
func removePins(dir string) error {
	d := Dirs{Pins: dir}
	for _, name := range mapNames {
		if err := os.Remove(d.pin(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove pin: %w", err)
		}
	}
	err := os.Remove(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
		return fmt.Errorf("remove pin directory: %w", err)
	}
	return nil
}

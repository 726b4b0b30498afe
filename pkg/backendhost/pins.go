package backendhost

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func (d Dirs) link() string           { return filepath.Join(d.Pins, "link") }
func (d Dirs) pin(name string) string { return filepath.Join(d.Pins, name) }

// mapNames are those of bpf/lib/decap.h.
var mapNames = []string{sourcesMap, vipsMap, countsMap}

const (
	sourcesMap = "decap_sources"
	vipsMap    = "decap_vips"
	countsMap  = "decap_counts"
)

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

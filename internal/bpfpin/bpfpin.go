// Package bpfpin holds what every program of ours that pins does alike: it finds
// the BPF file system, and pins and ends links there.
package bpfpin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Root is where the BPF file system usually is.
const Root = "/sys/fs/bpf"

// Prepare makes a directory for pins, mounting the BPF file system at its usual
// place if the host has not. It fails if dir is relative or on another file
// system.
func Prepare(dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("pin directory %q is not absolute", dir)
	}
	inside := dir == Root || strings.HasPrefix(dir, Root+"/")
	if inside && !mounted(Root) {
		if err := unix.Mount("bpf", Root, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
			return fmt.Errorf("mount the BPF file system on %s: %w (run as root)", Root, err)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make pin directory: %w", err)
	}
	if !mounted(dir) {
		return fmt.Errorf("pin directory %s is not on a BPF file system (choose one below %s)", dir, Root)
	}
	return nil
}

func mounted(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && fs.Type == unix.BPF_FS_MAGIC
}

// Interface returns the index of the interface of an XDP or tcx link, 0 if it is
// gone.
func Interface(l link.Link) int {
	info, err := l.Info()
	if err != nil {
		return 0
	}
	if x := info.XDP(); x != nil {
		return int(x.Ifindex)
	}
	if x := info.TCX(); x != nil {
		return int(x.Ifindex)
	}
	return 0
}

// Pin pins a link, in the place of one whose interface is gone if there is one.
func Pin(l link.Link, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove dead pin: %w", err)
	}
	if err := l.Pin(path); err != nil {
		return fmt.Errorf("pin link: %w", err)
	}
	return nil
}

// Detach ends a pinned link, even if another process has it open, and removes its
// pin. No pin is no error.
func Detach(path string) error {
	pinned, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open pinned link %s: %w", path, err)
	}
	defer pinned.Close()
	if err := pinned.Detach(); err != nil && !errors.Is(err, unix.ENOLINK) && Interface(pinned) != 0 {
		return fmt.Errorf("detach %s: %w", path, err)
	}
	if err := pinned.Unpin(); err != nil {
		return fmt.Errorf("remove pin %s: %w", path, err)
	}
	return nil
}

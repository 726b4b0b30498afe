package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/bpf"
)

// DefaultPinDir is where an xlb daemon pins unless told otherwise.
const DefaultPinDir = "/sys/fs/bpf/xlb"

const bpffsRoot = "/sys/fs/bpf"

// pins names the places below a pin directory.
type pins struct{ root string }

func (p pins) version() string { return filepath.Join(p.root, fmt.Sprintf("v%d", bpf.LayoutVersion)) }
func (p pins) maps() string    { return filepath.Join(p.version(), "maps") }
func (p pins) staging() string { return filepath.Join(p.version(), "staging") }
func (p pins) links() string   { return filepath.Join(p.version(), "links") }
func (p pins) restore() string { return filepath.Join(p.version(), "restore") }

// The BPF file system reserves dots in names, which interfaces may have.
func pinName(iface, kind string) string {
	return strings.ReplaceAll(iface, ".", "%2E") + "%" + kind
}

func parsePinName(name string) (iface, kind string, ok bool) {
	at := strings.LastIndexByte(name, '%')
	if at < 0 {
		return "", "", false
	}
	return strings.ReplaceAll(name[:at], "%2E", "."), name[at+1:], true
}

// prepare makes the directories, mounting the BPF file system at its usual
// place if the host has not.
func (p pins) prepare() error {
	if !filepath.IsAbs(p.root) {
		return fmt.Errorf("pin directory %q is not absolute", p.root)
	}
	inside := p.root == bpffsRoot || strings.HasPrefix(p.root, bpffsRoot+"/")
	if inside && !onBPFFS(bpffsRoot) {
		if err := unix.Mount("bpf", bpffsRoot, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
			return fmt.Errorf("mount the BPF file system on %s: %w (run as root)", bpffsRoot, err)
		}
	}
	if err := os.MkdirAll(p.root, 0o700); err != nil {
		return fmt.Errorf("make pin directory: %w", err)
	}
	if !onBPFFS(p.root) {
		return fmt.Errorf("pin directory %s is not on a BPF file system (choose one below %s)", p.root, bpffsRoot)
	}
	return nil
}

func onBPFFS(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && fs.Type == unix.BPF_FS_MAGIC
}

// entries lists a directory; none if it does not exist.
func entries(dir string) ([]string, error) {
	found, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range found {
		names = append(names, e.Name())
	}
	return names, nil
}

package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/xlb-io/xlb/bpf"
)

// DefaultPinDir is where an xlb daemon pins unless told otherwise.
const DefaultPinDir = "/sys/fs/bpf/xlb"

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

package policybuild

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/xlb-io/xlb/pkg/policy"
	"github.com/xlb-io/xlb/plugins"
)

// ErrName is that of a name that no policy can have.
var ErrName = errors.New("is no name for a policy (1 to 63 of a-z, 0-9, '-', '.', '_')")

var names = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// Languages are those with a template.
func Languages() []string { return plugins.Languages() }

// Template is what a new policy is to be.
type Template struct {
	Name, Language string
	Hook           policy.Hook
}

// Write writes the files of a new policy into dir, which must be empty or not be
// there: else the error wraps [fs.ErrExist]. It returns their names, sorted.
func (t Template) Write(dir string) ([]string, error) {
	if !names.MatchString(t.Name) {
		return nil, fmt.Errorf("%q %w", t.Name, ErrName)
	}
	files, err := plugins.New(t.Language, string(t.Hook), t.Name)
	if err != nil {
		return nil, err
	}
	if list, err := os.ReadDir(dir); err == nil && len(list) > 0 {
		return nil, fmt.Errorf("%s is not empty: %w", dir, fs.ErrExist)
	}
	sorted := slices.Sorted(maps.Keys(files))
	for _, name := range sorted {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, files[name], 0o644); err != nil {
			return nil, err
		}
	}
	return sorted, nil
}

package config

import (
	"fmt"
	"io"
	"os"

	"github.com/xlb-io/xlb/pkg/model"
)

// maxFileSize bounds what is read: far above any real configuration (some
// 800,000 backends), far below what would exhaust memory.
const maxFileSize = 16 << 20

// Load reads the configuration file at path.
//
// The error is [Errors] if the file was read but is wrong; otherwise it wraps
// what the operating system said.
func Load(path string) (*model.Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse reads a configuration from data, at most 16 MiB of UTF-8. The name is
// used in errors only. The error is always [Errors].
func Parse(name string, data []byte) (*model.Config, error) {
	r := &reader{file: name, budget: maxNodes}
	cfg := r.config(data)
	if len(r.errs) > 0 {
		return nil, r.errs.sorted()
	}
	return cfg, nil
}

func (r *reader) config(data []byte) *model.Config {
	root, ok := r.document(data)
	if !ok {
		return nil
	}
	file := read(r, root, fileKind)
	if !file.ok || r.hopeless {
		return nil
	}
	return r.resolve(&file.v)
}

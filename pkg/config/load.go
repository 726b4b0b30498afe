package config

import (
	"fmt"
	"io"
	"net/netip"
	"os"

	"github.com/xlb-io/xlb/pkg/model"
)

// maxFileSize bounds what is read: far above any real configuration (some
// 800,000 backends), far below what would exhaust memory.
const maxFileSize = 16 << 20

// Option is something about the host that a file is meant for.
type Option func(*reader)

// OnHost refuses backends that are addresses of the host itself, which are given
// with the interfaces that have them: what is sent to them never leaves, so the
// data plane cannot.
func OnHost(addresses map[netip.Addr]string) Option {
	return func(r *reader) { r.local = addresses }
}

// Load reads the configuration file at path.
//
// The error is [Errors] if the file was read but is wrong; otherwise it wraps
// what the operating system said.
func Load(path string, options ...Option) (*model.Config, error) {
	data, err := Read(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, options...)
}

// Read returns the text of the configuration file at path for [Parse], at most one
// byte more than that takes.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	return data, nil
}

// Parse reads a configuration from data, at most 16 MiB of UTF-8. The name is
// used in errors, and relative paths count from its directory. The error is always
// [Errors].
func Parse(name string, data []byte, options ...Option) (*model.Config, error) {
	r := &reader{file: name, budget: maxNodes, networks: map[string]*model.Networks{}}
	for _, o := range options {
		o(r)
	}
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

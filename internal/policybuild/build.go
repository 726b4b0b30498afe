// Package policybuild makes policies: a bundle's source from a template, its module
// from the source.
package policybuild

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/xlb-io/xlb/pkg/policy"
)

// Result is what a build made.
type Result struct {
	// Module is the file that was written, SHA256 its hash.
	Module string   `json:"module"`
	Bytes  int      `json:"bytes"`
	SHA256 string   `json:"sha256"`
	Hooks  []string `json:"hooks"`
	// Command is what was run.
	Command []string      `json:"command"`
	Took    time.Duration `json:"took_ns"`
}

// Build compiles the bundle in dir by its manifest's command, or the usual one of
// its language, and writes the module's hash into the manifest. What tools print
// goes to output. It checks the module as [policy.Open] does.
func Build(ctx context.Context, dir string, output io.Writer) (*Result, error) {
	path := filepath.Join(dir, policy.ManifestName)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s is no bundle: %w", dir, err)
	}
	m, err := policy.ParseManifest(path, text)
	if err != nil {
		return nil, err
	}
	c, err := newCommand(m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	began := time.Now()
	if err := c.run(ctx, dir, output); err != nil {
		return nil, err
	}
	r := &Result{Module: filepath.Join(dir, m.Module), Command: c.argv(), Took: time.Since(began)}
	module, err := os.ReadFile(r.Module)
	if err != nil {
		return nil, fmt.Errorf("the build did not write the module: %v", err)
	}
	sum := sha256.Sum256(module)
	r.Bytes, r.SHA256 = len(module), hex.EncodeToString(sum[:])
	if r.SHA256 != m.SHA256 {
		if text, err = withHash(text, r.SHA256); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if err := replaceFile(path, text); err != nil {
			return nil, err
		}
	}
	b, err := policy.Open(dir)
	if err != nil {
		return nil, err
	}
	for _, h := range b.Hooks {
		r.Hooks = append(r.Hooks, string(h))
	}
	return r, nil
}

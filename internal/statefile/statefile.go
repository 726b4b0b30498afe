// Package statefile replaces the small files that outlive a process.
package statefile

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
)

// Replace writes a file, mode 0600, so that a crash leaves the old or the new one
// whole. Its directory is made if need be.
func Replace(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ReplaceJSON is Replace with content in indented JSON.
func ReplaceJSON(path string, content any) error {
	data, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return err
	}
	return Replace(path, append(data, '\n'))
}

package policybuild

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// A manifest's top-level keys start their lines.
var (
	hashLine   = regexp.MustCompile(`(?m)^sha256:[ \t]*(?:"[^"\n]*"|'[^'\n]*'|[^\s#]*)`)
	moduleLine = regexp.MustCompile(`(?m)^module:.*$`)
)

// withHash returns a manifest with another hash; all else is as it was, comments
// too.
func withHash(manifest []byte, hash string) ([]byte, error) {
	line := []byte("sha256: " + hash)
	if at := hashLine.FindIndex(manifest); at != nil {
		return splice(manifest, at[0], at[1], line), nil
	}
	if at := moduleLine.FindIndex(manifest); at != nil {
		return splice(manifest, at[1], at[1], append([]byte("\n"), line...)), nil
	}
	return nil, fmt.Errorf("there is no line \"module: FILE\" (write the keys one a line)")
}

func splice(text []byte, from, to int, with []byte) []byte {
	return append(append(append([]byte{}, text[:from]...), with...), text[to:]...)
}

// replaceFile writes a file so that a reader sees the old or the new text, whole.
func replaceFile(path string, data []byte) error {
	mode := os.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

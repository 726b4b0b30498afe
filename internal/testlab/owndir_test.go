package testlab

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestOwnDirsSweep(t *testing.T) {
	const dirs, nobody = OwnDirs("xlb-some-"), 1 << 30 // above every kernel's pid_max
	parent := t.TempDir()
	mine, dead, alive := filepath.Base(dirs.In("")), fmt.Sprint(dirs, nobody), fmt.Sprint(dirs, os.Getppid())
	for _, name := range []string{mine, dead, alive, string(dirs) + "x", "other"} {
		if err := os.MkdirAll(filepath.Join(parent, name, "inside"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := dirs.sweep(parent); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range left {
		names = append(names, e.Name())
	}
	want := []string{"other", alive, string(dirs) + "x"}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("left %v, want %v", names, want)
	}
}

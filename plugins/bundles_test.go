package plugins

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/goccy/go-yaml"
)

// manifest is what is said of a module's build.
type manifest struct {
	Name, Module, SHA256, Language string
	Build, Hooks                   []string
}

func bundles(t *testing.T) map[string]manifest {
	t.Helper()
	paths, err := filepath.Glob("../policies/*/policy.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no bundles: %v", err)
	}
	all := map[string]manifest{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var m manifest
		if err := yaml.Unmarshal(text, &m); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all[filepath.Dir(path)] = m
	}
	return all
}

// The committed modules are what their manifests say.
func TestHashes(t *testing.T) {
	for dir, m := range bundles(t) {
		module, err := os.ReadFile(filepath.Join(dir, m.Module))
		if err != nil {
			t.Error(err)
			continue
		}
		if sum := sha256.Sum256(module); hex.EncodeToString(sum[:]) != m.SHA256 {
			t.Errorf("%s: the module's hash is %x, the manifest's %s (run make plugins)", dir, sum, m.SHA256)
		}
		if m.Name != filepath.Base(dir) {
			t.Errorf("%s is called %s", dir, m.Name)
		}
	}
}

// The committed modules are what their sources make, byte by byte.
func TestRebuild(t *testing.T) {
	for dir, m := range bundles(t) {
		t.Run(m.Name, func(t *testing.T) {
			needPinned(t, m.Language)
			out := filepath.Join(t.TempDir(), m.Module)
			build(t, dir, m.Build, out)
			got, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(filepath.Join(dir, m.Module))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("the source makes a module of %d bytes, the committed one has %d (commit what make plugins makes)", len(got), len(want))
			}
			for _, place := range places(t) {
				if bytes.Contains(got, []byte(place+"/")) {
					t.Errorf("the module holds a path of this machine, %s", place)
				}
			}
		})
	}
}

// places are where this repository, the user's files and temporary ones lie.
func places(t *testing.T) []string {
	t.Helper()
	here, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	all := []string{here, os.TempDir()}
	if home, err := os.UserHomeDir(); err == nil && home != "/" {
		all = append(all, home)
	}
	return all
}

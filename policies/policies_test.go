package policies

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/policy"
	"github.com/xlb-io/xlb/pkg/policy/policytest"
)

// Every bundle answers as its vectors want.
func TestVectors(t *testing.T) {
	paths, err := filepath.Glob("*/" + policy.ManifestName)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no bundles: %v", err)
	}
	for _, path := range paths {
		dir := filepath.Dir(path)
		t.Run(dir, func(t *testing.T) {
			b, err := policy.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			if b.SHA256 != b.Manifest.SHA256 {
				t.Errorf("the manifest has the hash %q", b.Manifest.SHA256)
			}
			vectors, err := policytest.Load(filepath.Join(dir, b.Manifest.Tests))
			if err != nil {
				t.Fatal(err)
			}
			outcomes, err := policytest.Run(t.Context(), b, vectors)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range outcomes {
				if !o.Passed {
					t.Errorf("%s:%d: %s: %s\n%s", b.Manifest.Tests, o.Line, o.Name, strings.Join(o.Differences, "; "), strings.Join(o.Log, "\n"))
				}
			}
			if len(outcomes) != len(vectors) {
				t.Errorf("%d of %d vectors were asked", len(outcomes), len(vectors))
			}
		})
	}
}

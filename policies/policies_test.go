package policies

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/policy"
	"github.com/xlb-io/xlb/pkg/policy/policytest"
)

// Every bundle answers as its vectors want, takes the configuration that its page
// shows, and the page is complete.
func TestBundles(t *testing.T) {
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
			text := page(t, b)
			complete(t, text, b)
			vectors = append(vectors, exampleVector(t, text, b)...)
			outcomes, err := policytest.Run(t.Context(), b, vectors)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range outcomes {
				if !o.Passed {
					t.Errorf("%s: %s\n%s", o.Name, strings.Join(o.Differences, "; "), strings.Join(o.Log, "\n"))
				}
			}
			if len(outcomes) != len(vectors) {
				t.Errorf("%d of %d vectors were asked", len(outcomes), len(vectors))
			}
		})
	}
}

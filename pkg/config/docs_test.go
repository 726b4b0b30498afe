package config

import (
	"os"
	"strings"
	"testing"
)

// TestDiscoveryPage reads every configuration that docs/discovery.md shows.
func TestDiscoveryPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/discovery.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for block := range strings.SplitSeq(string(page), "```yaml\n") {
		if text, _, _ := strings.Cut(block, "```"); strings.HasPrefix(text, "interfaces:") {
			found++
			parse(t, text)
			checkSchema(t, []byte(text))
		}
	}
	if found < 3 {
		t.Errorf("%d configurations found", found)
	}
}

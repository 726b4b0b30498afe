package policies

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/xlb-io/xlb/pkg/policy"
	"github.com/xlb-io/xlb/pkg/policy/policytest"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// example is the part of a page's configuration that concerns policies.
type example struct {
	Policies map[string]struct {
		Path    string
		Config  any
		Tables  map[string]string
		Subsets map[string]any
	}
	Services map[string]struct {
		Policies []string
		Probe    struct{ Policy string }
	}
}

// page is a bundle's page.
func page(t *testing.T, b *policy.Bundle) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.Path, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// exampleVector asks whether the configuration of the page's example is accepted.
func exampleVector(t *testing.T, page string, b *policy.Bundle) []policytest.Vector {
	t.Helper()
	text, err := json.Marshal([]map[string]any{{
		"name": "the example on the page", "validate": exampleConfig(t, page, b), "want": map[string]any{"valid": true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	vectors, err := policytest.Parse("README.md", text)
	if err != nil {
		t.Fatal(err)
	}
	return vectors
}

// exampleConfig returns the configuration of the example, which names what there is.
func exampleConfig(t *testing.T, page string, b *policy.Bundle) any {
	t.Helper()
	block := yamlBlock.FindStringSubmatch(page)
	if block == nil {
		t.Fatal("the page has no example")
	}
	var e example
	if err := yaml.Unmarshal([]byte(block[1]), &e); err != nil {
		t.Fatal(err)
	}
	var used []string
	for _, s := range e.Services {
		used = append(append(used, s.Policies...), s.Probe.Policy)
	}
	var config any
	for name, p := range e.Policies {
		if !slices.Contains(used, name) || filepath.Base(p.Path) != b.Manifest.Name {
			t.Errorf("policy %s of %s is used by no service, or is another", name, p.Path)
		}
		for table := range p.Tables {
			if !slices.ContainsFunc(b.Manifest.Tables, func(s policy.TableSpec) bool { return s.Name == table }) {
				t.Errorf("there is no table %q", table)
			}
		}
		for subset := range p.Subsets {
			if !slices.Contains(b.Manifest.Subsets, subset) {
				t.Errorf("there is no subset %q", subset)
			}
		}
		config = p.Config
	}
	return config
}

// complete checks that the page says what all that can be configured is.
func complete(t *testing.T, page string, b *policy.Bundle) {
	t.Helper()
	var schema struct{ Properties map[string]any }
	if err := json.Unmarshal(b.Manifest.Config, &schema); err != nil {
		t.Fatal(err)
	}
	names := slices.Clone(b.Manifest.Counters)
	for key := range schema.Properties {
		// A row may stand for several: `group-1` to `group-8`.
		if !regexp.MustCompile(`^group-[2-7]$`).MatchString(key) {
			names = append(names, key)
		}
	}
	for _, table := range b.Manifest.Tables {
		names = append(names, table.Name)
	}
	for _, name := range names {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("the page does not say what `%s` is", name)
		}
	}
	if len(b.Manifest.Reasons) > 0 && !strings.Contains(page, "Reasons: 1 ") {
		t.Error("the page does not say what the reasons are")
	}
	index, err := os.ReadFile("README.md")
	if err != nil || !strings.Contains(string(index), "("+b.Manifest.Name+"/README.md)") {
		t.Errorf("policies/README.md does not name it: %v", err)
	}
}

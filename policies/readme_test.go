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

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// example is the part of a page's configuration that concerns policies.
type example struct {
	Policies map[string]struct {
		Path    string
		Config  any
		Tables  map[string]string
		Subsets map[string]struct{ Tag, Zone string }
	}
	Services map[string]struct {
		Policies []string
		Probe    struct{ Policy string }
	}
}

// The example on each bundle's page names what there is, and its configuration is
// accepted; the page names all that can be configured and all reasons.
func TestPages(t *testing.T) {
	r, err := policy.NewRuntime(t.Context(), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(t.Context())
	pages, err := filepath.Glob("*/README.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	for _, path := range pages {
		dir := filepath.Dir(path)
		t.Run(dir, func(t *testing.T) {
			page, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b, err := policy.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			spec := exampleOf(t, string(page), b)
			p, err := r.LoadBundle(t.Context(), b, spec)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close(t.Context())
			complete(t, string(page), b)
		})
	}
}

func exampleOf(t *testing.T, page string, b *policy.Bundle) model.Policy {
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
	spec := model.Policy{OnError: model.ErrorContinue, Subsets: map[string]model.Subset{}}
	for name, p := range e.Policies {
		if !slices.Contains(used, name) || filepath.Base(p.Path) != b.Manifest.Name {
			t.Errorf("policy %s of %s is used by no service, or is another", name, p.Path)
		}
		config, err := json.Marshal(p.Config)
		if err != nil {
			t.Fatal(err)
		}
		spec.Name, spec.Path = name, b.Path
		if p.Config != nil {
			spec.Config = config
		}
		for table := range p.Tables {
			if !slices.ContainsFunc(b.Manifest.Tables, func(s policy.TableSpec) bool { return s.Name == table }) {
				t.Errorf("there is no table %q", table)
			}
		}
		for name, s := range p.Subsets {
			spec.Subsets[name] = model.Subset{Tag: s.Tag, Zone: s.Zone}
		}
	}
	return spec
}

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

package config

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/model"
)

// TestProbesPage parses every example of docs/probes.md, of which there is one of
// each type at least.
func TestProbesPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/probes.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[model.ProbeType]bool{}
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		text := block[1]
		if strings.HasPrefix(text, "probe:") {
			text = "services:\n  s:\n    frontends: tcp://192.0.2.1:53\n    backends: 10.0.0.1\n    " + strings.TrimSpace(strings.ReplaceAll(text, "\n", "\n    ")) + "\n"
		}
		if !strings.Contains(text, "interfaces:") {
			text = "interfaces: eth0\npolicies: {line-probe: {path: x}}\n" + text
		}
		for _, s := range parse(t, text).Services {
			shown[s.Probe.Type] = true
		}
		checkSchema(t, []byte(text))
	}
	for _, typ := range probeTypes {
		heading := regexp.MustCompile(`(?m)^### .*\b` + string(typ) + `\b`)
		// One example serves http and https.
		if !shown[typ] || !heading.Match(page) {
			t.Errorf("type %s: shown %v, heading %v", typ, shown[typ], heading.Match(page))
		}
	}
}

package config

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/model"
)

// TestDeclarations parses every example and every default of the reference.
func TestDeclarations(t *testing.T) {
	ruleFiles(t)
	const known = "policies:\n  cidr-filter: {path: x}\n  canary: {path: x}\n  line-probe: {path: x}\n"
	frames := map[string]string{
		"file":      "%s\n",
		"defaults":  "defaults:\n  %s\n",
		"probe":     "defaults:\n  probe:\n    %s\n",
		"tiers":     "defaults:\n  tiers:\n    %s\n",
		"zones":     "defaults:\n  zones:\n    %s\n",
		"timeouts":  "defaults:\n  timeouts:\n    %s\n",
		"affinity":  "defaults:\n  affinity:\n    %s\n",
		"quic":      "defaults:\n  quic:\n    %s\n",
		"probes":    "probes:\n  %s\n",
		"on_change": "defaults:\n  on_change:\n  - %s\n",
		"eject":     "defaults:\n  eject:\n    %s\n",
		"policy":    "policies:\n  p:\n    %s\n",
		"subset":    "policies:\n  p:\n    path: x\n    subsets:\n      s:\n        %s\n",
		"policies":  "services:\n  s:\n    frontends: tcp://192.0.2.1:80\n    backends: []\n    policies:\n    - %s\n",
		"service":   "services:\n  s:\n    %s\n",
		"discover":  "services:\n  s:\n    frontends: tcp://192.0.2.1:80\n    discover:\n    - %s\n",
		"tls":       "services:\n  s:\n    frontends: tcp://192.0.2.1:80\n    discover:\n    - {type: consul, service: web, address: \"https://192.0.2.9:8501\", tls: {%s}}\n",
		"backend":   "services:\n  s:\n    frontends: tcp://192.0.2.1:80\n    backends:\n    - %s\n",

		"steer":           "services:\n  s:\n    frontends: tcp://192.0.2.1:80\n    backends: []\n    steer:\n    - %s\n",
		"rate":            "defaults:\n  rate:\n    %s\n",
		"rate_per_source": "defaults:\n  rate_per_source:\n    %s\n",
	}
	companions := map[string]string{
		"gateway_mac": "next_hop: gateway-mac\n", "next_hop": "gateway_mac: 02:00:00:00:00:01\n",
		"backends": "    frontends: tcp://192.0.2.1:80\n", "frontends": "    forward: l2dsr\n    backends: []\n", "discover": "    frontends: tcp://192.0.2.1:80\n",
	}
	for _, g := range groups() {
		for _, f := range g.fields {
			examples := []string{f.example}
			if f.def != nil {
				examples = append(examples, show(f.def))
			}
			for i, example := range examples {
				text := fmt.Sprintf(frames[g.name], f.key+": "+example)
				if g.name == "backend" && f.key != "address" {
					text += "      address: 10.0.0.1\n"
				}
				if g.name == "policy" && f.key != "path" {
					text += "    path: x\n"
				}
				if g.name == "affinity" && f.key != "timeout" {
					text += "    timeout: 10m\n"
				}
				if g.name == "quic" && f.key != "server_id_length" {
					text += "    server_id_length: 4\n"
				}
				if g.name == "policies" && f.key != "policy" {
					text += "      policy: canary\n"
				}
				switch {
				case g.name == "policies", f.key == "on_overload", f.key == "policies" && g.name != "file", f.key == "policy":
					text = known + text
				}
				if g.name == "discover" {
					text += sourceCompanions(f.key)
				}
				text += ruleCompanions[g.name][f.key]
				if g.name == "tls" {
					other := map[string]string{"certificate": ", key: x", "key": ", certificate: x"}[f.key]
					text = fmt.Sprintf(frames["tls"], f.key+": "+example+other)
				}
				if strings.HasPrefix(f.key, "role") && g.name != "file" {
					text = known + text + map[string]string{"service": "    probe: {type: policy, policy: canary}\n"}[g.name]
					if f.key != "role" {
						text += map[string]string{"service": "    role: primary\n"}[g.name]
					}
				}
				switch f.key {
				case "headers", "retries":
					text += "    webhook: http://a/\n"
				case "states", "timeout":
					if g.name == "on_change" {
						text += "    command: /a\n"
					}
				}
				if f.key == "on_overload" {
					text += map[string]string{"service": "    policies: canary\n"}[g.name]
				}
				if g.name == "service" && f.key != "frontends" && f.key != "backends" && f.key != "discover" {
					text += "    frontends: tcp://192.0.2.1:80\n    backends: []\n"
				} else if i == 0 {
					text += companions[f.key]
				}
				if f.key != "interfaces" {
					text += "interfaces: eth0\n"
				}
				switch {
				case f.key == "server_id":
					text = strings.ReplaceAll(text, "tcp:", "udp:") + "defaults: {quic: {server_id_length: 4}}\n"
				case g.name == "service" && (f.key == "ops" || f.key == "quic"):
					text = strings.ReplaceAll(text, "tcp:", "udp:") + "defaults: {forward: l2dsr}\n"
				}
				parse(t, text)
				checkSchema(t, []byte(text))
			}
		}
	}
}

// sourceCompanions are the keys that a source with the given one needs.
func sourceCompanions(key string) string {
	for _, t := range []model.SourceType{model.SourceDNS, model.SourceConsul, model.SourceFile, model.SourceEtcd, model.SourceExec} {
		kind := sourceTypes[t]
		common := key == "source" || key == "zone" || key == "tags" || key == "stale_for" || key == "on_empty" || key == "debounce"
		if !common && key != "type" && !slices.Contains(kind.keys, key) {
			continue
		}
		text := ""
		if key != "type" {
			text = fmt.Sprintf("      type: %s\n", t)
		}
		for _, n := range kind.needs {
			if n.key != key {
				text += fmt.Sprintf("      %s: %s\n", n.key, n.example)
			}
		}
		if other, ok := map[string]string{
			"username": "password: x", "password": "username: x", "password_file": "username: x", "tls": `address: "https://192.0.2.9:8501"`, "keep_running": "zone: x",
		}[key]; ok {
			text += "      " + other + "\n"
		}
		return text
	}
	return ""
}

func TestReferenceIsCurrent(t *testing.T) {
	b, err := os.ReadFile("../../docs/CONFIGURATION.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != Reference() {
		t.Error("docs/CONFIGURATION.md differs from the declarations; run go generate ./pkg/config")
	}
}

// TestStartOnly compares StartOnlyChanges with what the reference says and
// with the settings there are.
func TestStartOnly(t *testing.T) {
	var documented, reported []string
	for _, f := range fileGroup().fields {
		if f.atStart {
			documented = append(documented, f.key)
		}
	}
	for _, s := range startOnly {
		reported = append(reported, s.key)
	}
	equal(t, documented, reported)

	base := Default().Settings
	base.Interfaces = []string{"a", "b"}
	equal(t, []string(nil), StartOnlyChanges(base, base))
	var all []string
	other := reflect.New(reflect.TypeFor[model.Settings]()).Elem()
	for i := range other.NumField() {
		changed := base
		reflect.ValueOf(&changed).Elem().Field(i).SetZero()
		if name := other.Type().Field(i).Name; name == "GatewayMAC" {
			changed.GatewayMAC[5] = 1
		}
		all = append(all, StartOnlyChanges(base, changed)...)
	}
	equal(t, documented, all)
	swapped := base
	swapped.Interfaces = []string{"b", "a"}
	equal(t, []string(nil), StartOnlyChanges(base, swapped))
	if base.Interfaces[0] != "a" || swapped.Interfaces[0] != "b" {
		t.Error("StartOnlyChanges sorted its arguments")
	}
}

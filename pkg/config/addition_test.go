package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/model"
)

const additionFile = `
interfaces: eth0
max_services: 4
defaults: {fail: closed, slow_start: 30s}
services:
  web: {frontends: tcp://192.0.2.1:80, backends: [10.0.0.1]}
  nat: {forward: dnat, frontends: tcp://192.0.2.9:80, backends: [10.0.0.9]}
`

func withAdditions(t *testing.T, list ...Addition) *model.Config {
	t.Helper()
	cfg, err := Parse("x.yaml", []byte(additionFile), Additions(list))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestAdditions(t *testing.T) {
	cfg := withAdditions(t,
		Addition{Name: "mail", Text: "frontends: tcp://192.0.2.2:25\nbackends: [10.0.0.2, {address: 10.0.0.3, weight: 2}]\nprobe: none\n"},
		Addition{Name: "dns", Text: "{frontends: udp://192.0.2.2:53, backends: 10.0.0.2, fail: open}"})
	if len(cfg.LeftOut) > 0 || len(cfg.Services) != 4 {
		t.Fatalf("%d services, left out %v", len(cfg.Services), cfg.LeftOut)
	}
	mail, dns := cfg.Services[2], cfg.Services[3]
	if !mail.Added || mail.Name != "mail" || mail.Fail != model.FailClosed || mail.Placement.SlowStart == 0 || mail.Backends[1].Weight != 2 {
		t.Errorf("mail: %+v", mail)
	}
	if dns.Fail != model.FailOpen || cfg.Services[0].Added {
		t.Errorf("dns: %+v", dns)
	}
}

// TestAdditionsLeftOut: what does not fit is left out, and harms nobody else.
func TestAdditionsLeftOut(t *testing.T) {
	good := func(name string, port int) Addition {
		return Addition{Name: name, Text: fmt.Sprintf("{frontends: 'tcp://192.0.2.2:%d', backends: []}", port)}
	}
	for _, c := range []struct{ name, text, want string }{
		{"web", "{frontends: tcp://192.0.2.3:80, backends: []}", `a.yaml:1:1: there is a service "web" already (take another name, or change the file)`},
		{"a b", "{frontends: tcp://192.0.2.3:80, backends: []}", "a.yaml:1:1: \"a b\" is not a valid service name (1 to 63 of `a-z`, `0-9`, `-`, `.`, `_`)"},
		{"x", "frontends: tcp://192.0.2.1:80\nbackends: []\n", "a.yaml:1:12: duplicate frontend tcp://192.0.2.1:80 (first at another service)"},
		{"x", "frontends: tcp://10.0.0.9:80\nbackends: []\n", "a.yaml:1:1: frontend tcp://10.0.0.9:80 is a backend of a dnat service: its replies could not be told from requests (use forward: nat there, or another port)"},
		{"x", "forward: dnat\nfrontends: tcp://192.0.2.4:80\nbackends: 192.0.2.1\n", "a.yaml:3:11: backend tcp://192.0.2.1:80 of a dnat service is a frontend too: its replies could not be told from requests (frontend at another service; use forward: nat, or another port)"},
		{"x", "frontends: tcp://192.0.2.3:80\nbackends: 10.0.0.1\nprobe: {policy: nobody, type: policy}\n", `a.yaml:3:17: unknown policy "nobody" (define it under policies:)`},
		{"x", "frontends: [tcp://192.0.2.3:80\n", "a.yaml:1:12: sequence end token ']' not found (close every bracket and quote)"},
		{"x", "", `a.yaml:1:1: the text is empty (give at least frontends and backends)`},
	} {
		cfg := withAdditions(t, good("first", 1), Addition{Name: c.name, Text: c.text, File: "a.yaml"}, good("second", 2))
		if got := cfg.LeftOut[c.name]; got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.text, got, c.want)
		}
		if len(cfg.Services) != 4 || cfg.Services[3].Name != "second" {
			t.Errorf("%s: the others are %+v", c.text, cfg.Services)
		}
	}
	cfg := withAdditions(t, good("a", 1), good("b", 2), good("c", 3))
	if len(cfg.Services) != 4 || !strings.Contains(cfg.LeftOut["c"], "more services than there is room for: 4 (raise max_services)") {
		t.Errorf("%d services, left out %v", len(cfg.Services), cfg.LeftOut)
	}
	// A wrong file is wrong for its own reasons.
	if _, err := Parse("x.yaml", []byte("interfaces: []\n"), Additions([]Addition{good("a", 1)})); err == nil || strings.Contains(err.Error(), "192.0.2.2") {
		t.Errorf("a wrong file: %v", err)
	}
}

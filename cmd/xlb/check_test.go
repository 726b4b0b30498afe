package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const goodConfig = `interfaces: lo
sources: [192.0.2.1]
services:
  web:
    frontends: tcp://203.0.113.10:80
    backends: [10.0.0.11, 10.0.0.12]
`

const wrongConfigText = `interfaces: lo
services:
  web:
    frontend: tcp://203.0.113.10:80
    backends: [10.0.0.11:70000]
`

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "xlb.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheck(t *testing.T) {
	good := writeFile(t, goodConfig)
	want := "ok: 1 service, 2 backends\n"
	for _, args := range [][]string{{"check", "-c", good}, {"check", good}, {"--config", good, "check"}, {"check", "--config=" + good}} {
		same(t, xlb(t, args...).ok(t), want)
	}
	same(t, xlbIn(t, t.Context(), env{stdin: strings.NewReader(goodConfig)}, "check", "-").ok(t), want)
	if got := decode[checkResult](t, xlb(t, "check", "--json", good).ok(t)); !got.Valid || got.Services != 1 || got.Backends != 2 || got.Errors == nil {
		t.Errorf("JSON: %+v", got)
	}
	t.Setenv("XLB_CONFIG", good)
	same(t, xlb(t, "check").ok(t), want)
	// The argument wins over the environment.
	xlb(t, "check", "/nowhere.yaml").fails(t, exitUsage, "xlb: there is no configuration file /nowhere.yaml")
}

func TestCheckFindsMistakes(t *testing.T) {
	wrong := writeFile(t, wrongConfigText)
	r := xlb(t, "check", wrong)
	if r.status != exitUsage || r.stdout != "" {
		t.Errorf("%+v", r)
	}
	found := lines(r.stderr)
	if len(found) < 2 {
		t.Fatalf("two mistakes give\n%s", r.stderr)
	}
	for _, line := range found {
		if !strings.HasPrefix(line, wrong+":") {
			t.Errorf("a line does not start with file:line:column: %s", line)
		}
	}
	r = xlb(t, "check", "--json", wrong)
	got := decode[checkResult](t, r.stdout)
	if r.status != exitUsage || got.Valid || len(got.Errors) != len(found) || got.Errors[0].Line != 4 {
		t.Errorf("status %d, JSON %+v", r.status, got)
	}
	t.Setenv("XLB_PIN_DIR", filepath.Join(t.TempDir(), "pins"))
	if r := xlb(t, "run", "-c", wrong, "--socket", filepath.Join(t.TempDir(), "s")); r.status != exitUsage || len(lines(r.stderr)) != len(found) {
		t.Errorf("xlb run: %+v", r)
	}
}

func TestConfigSchemaAndReference(t *testing.T) {
	if s := xlb(t, "config", "schema").ok(t); !json.Valid([]byte(s)) || !strings.Contains(s, "frontends") {
		t.Errorf("not a schema:\n%.200s", s)
	}
	if s := xlb(t, "config", "reference").ok(t); !strings.HasPrefix(s, "# Configuration reference") {
		t.Errorf("not a reference:\n%.200s", s)
	}
}

func TestVersion(t *testing.T) {
	text := xlb(t, "version").ok(t)
	same(t, xlb(t, "--version").ok(t), text)
	same(t, xlb(t, "-v").ok(t), text)
	got := decode[map[string]string](t, xlb(t, "version", "--json").ok(t))
	for _, key := range []string{"version", "go", "kernel", "platform"} {
		if got[key] == "" || !strings.Contains(text, got[key][strings.LastIndex(got[key], " ")+1:]) {
			t.Errorf("%s is %q in JSON, the text is\n%s", key, got[key], text)
		}
	}
	defer func(v string) { version = v }(version)
	version = "v9.8.7"
	if s := xlb(t, "version").ok(t); !strings.HasPrefix(s, "xlb v9.8.7") {
		t.Errorf("the linker's version is not shown: %s", s)
	}
}

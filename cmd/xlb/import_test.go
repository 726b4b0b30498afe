package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const theirs = "../../pkg/importer/testdata/"

func TestImport(t *testing.T) {
	r := xlb(t, "import", "nginx", "-i", "eth3", "--vip", "203.0.113.10", "--vip", "2001:db8::10", theirs+"nginx/nginx.conf")
	if r.status != exitOK || !strings.Contains(r.stdout, "interfaces: [eth3]\n") || !strings.Contains(r.stdout, "# no counterpart: nginx.conf:40: proxy_connect_timeout 1s: ") {
		t.Errorf("status %d: %s%s", r.status, r.stdout, r.stderr)
	}
	same(t, r.stderr, "xlb: 6 services, 1 left out, 8 without counterpart")

	got := decode[struct {
		Services int
		Config   string
		Notes    []struct {
			File, What, Why string
			Line            int
			LeftOut         bool `json:"left_out"`
		}
	}](t, xlb(t, "import", "keepalived", "--json", theirs+"keepalived/keepalived.conf").stdout)
	if got.Services != 3 || len(got.Notes) != 8 || got.Notes[0].Line != 6 || !got.Notes[7].LeftOut || !strings.Contains(got.Config, "vs-group-smtp:") {
		t.Errorf("JSON is %+v", got)
	}

	out := filepath.Join(t.TempDir(), "xlb.yaml")
	if r := xlb(t, "import", "ipvs", "-o", out, theirs+"ipvs/saved"); r.status != exitOK || r.stdout != "" {
		t.Errorf("status %d: %s%s", r.status, r.stdout, r.stderr)
	}
	before, err := os.ReadFile(out)
	if err != nil || !strings.Contains(string(before), "vs-203.0.113.40-80:") {
		t.Errorf("wrote %q, %v", before, err)
	}
	if r := xlb(t, "import", "ipvs", "-o", out, theirs+"ipvs/saved"); r.status != exitFailed || !strings.Contains(r.stderr, "file exists (what is there is not overwritten)") {
		t.Errorf("a file that is there: status %d: %s", r.status, r.stderr)
	}
	if after, err := os.ReadFile(out); err != nil || string(after) != string(before) {
		t.Errorf("it holds %q now, %v", after, err)
	}
}

func TestImportMistakes(t *testing.T) {
	xlb(t, "import", "nginx", theirs+"nginx/nginx.conf").fails(t, exitUsage,
		theirs+"nginx/nginx.conf:49: listen 1883 listens on any address, and xlb needs to know which: give an IPv4 address with --vip")
	xlb(t, "import", "haproxy", "--vip", "0.0.0.0", theirs+"haproxy/haproxy.cfg").fails(t, exitUsage, `xlb: --vip "0.0.0.0" is not an address that packets can go to`)
	xlb(t, "import", "haproxy", "/nonexistent").fails(t, exitFailed, `xlb: HAProxy configuration: open /nonexistent: no such file or directory`)
	xlb(t, "import", "keepalived").fails(t, exitUsage, `xlb: FILE is missing (usage: xlb import keepalived [OPTIONS] FILE)`)
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("listen l\nmode http\nbind 203.0.113.1:80\nserver a 10.0.0.1:80\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := xlb(t, "import", "haproxy", path); r.status != exitFailed || !strings.Contains(r.stderr, "nothing could be imported") || !strings.Contains(r.stdout, "mode http looks into connections") {
		t.Errorf("status %d: %s%s", r.status, r.stdout, r.stderr)
	}
}

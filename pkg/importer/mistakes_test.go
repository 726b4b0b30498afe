package importer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/importer"
)

func TestMistakes(t *testing.T) {
	none := importer.Options{Interfaces: []string{"eth0"}}
	for name, one := range map[string]struct {
		read readFunc
		text string
		want string
	}{
		"nginx without stream":   {importer.Nginx, "events {}\nhttp {}\n", ":1: there is no stream"},
		"nginx: unclosed":        {importer.Nginx, "stream {\nserver {\n", ":3: unexpected end of file"},
		"nginx: any address":     {importer.Nginx, "stream {\nserver {\nlisten 80;\nproxy_pass 10.0.0.1:80;\n}\n}\n", ":3: listen 80 listens on any address, and xlb needs to know which: give an IPv4 address with --vip"},
		"nginx: no port":         {importer.Nginx, "stream {\nserver {\nlisten 10.0.0.1;\nproxy_pass 10.0.0.1:80;\n}\n}\n", ":3: listen 10.0.0.1: it names no port"},
		"haproxy: nothing":       {importer.HAProxy, "global\n", ":1: there is neither listen nor frontend"},
		"haproxy: open quote":    {importer.HAProxy, "listen 'a\n", ":1: the quote ' is not closed"},
		"haproxy: no backend":    {importer.HAProxy, "frontend f\nbind 203.0.113.1:80\ndefault_backend b\n", `:3: there is no backend "b"`},
		"haproxy: port 70000":    {importer.HAProxy, "listen l\nbind 203.0.113.1:70000\nserver a 10.0.0.1:80\n", `:2: bind 203.0.113.1:70000: "70000" is not a port from 1 to 65535`},
		"keepalived: nothing":    {importer.Keepalived, "global_defs {\n}\n", ":1: there is no virtual_server"},
		"keepalived: unclosed":   {importer.Keepalived, "a {\nvirtual_server 203.0.113.1 80 {\n", ":2: virtual_server 203.0.113.1 80 { is not closed"},
		"keepalived: overclosed": {importer.Keepalived, "a {\n}\n}\n", ":3: a } closes nothing"},
		"keepalived: include":    {importer.Keepalived, "include nowhere.conf\n", ":1: include "},
		"keepalived: no group":   {importer.Keepalived, "virtual_server group g {\n}\n", `:1: there is no virtual_server_group "g"`},
		"keepalived: a word":     {importer.Keepalived, "virtual_server 203.0.113.1 http {\n}\n", `:1: 203.0.113.1 http: "http" is not a port`},
		"keepalived: weight":     {importer.Keepalived, "virtual_server 203.0.113.1 80 {\nreal_server 10.0.0.1 80 {\nweight lots\n}\n}\n", ":3: weight lots: a weight is 0 to 65535"},
		"keepalived: range":      {importer.Keepalived, "virtual_server 203.0.113.250-300 80 {\n}\n", "is not a range"},
		"nginx: no such include": {importer.Nginx, "stream {\ninclude nowhere.conf;\n}\n", ":2: open "},
		"haproxy: no defaults":   {importer.HAProxy, "listen l from d\n", `:1: there is no defaults "d"`},
		"haproxy: empty bind":    {importer.HAProxy, "listen l\nbind\n", ":2: bind names no address"},
		"ipvs: twice":            {ipvs, "-A -t 203.0.113.1:80\n-A -t 203.0.113.1:80\n", ":2: -A -t 203.0.113.1:80: it was added before, in line 1"},
		"ipvs: weight":           {ipvs, "-A -t 203.0.113.1:80\n-a -t 203.0.113.1:80 -r 10.0.0.1:80 -w x\n", ":2: -w x: a weight"},
		"ipvs: deleted":          {ipvs, "-D -t 203.0.113.1:80\n", ":1: -D -t 203.0.113.1:80: only -A and -a are expected"},
		"ipvs: nothing":          {ipvs, "\n", ":1: there is no virtual service"},
		"ipvs: a table":          {ipvs, "IP Virtual Server version 1.2.1\n", ":1: IP Virtual Server version 1.2.1: only -A and -a are expected"},
		"ipvs: server of nobody": {ipvs, "-a -t 203.0.113.1:80 -r 10.0.0.1:80 -g\n", ":1: "},
		"ipvs: names":            {ipvs, "-A -t www:http -s rr\n", "save with ipvsadm-save -n"},
		"no file": {func(_ string, o importer.Options) (*importer.Result, error) {
			return importer.HAProxy("/nonexistent", o)
		}, "", "no such file"},
		"keepalived in a circle":  {func(path string, o importer.Options) (*importer.Result, error) { return importer.Keepalived(path, o) }, "include file\n", "nested more than 16 deep"},
		"ipvs: an unclosed quote": {ipvs, "-A 'x\n", ":1: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := one.read(write(t, one.text), none)
			if err == nil || !strings.Contains(err.Error(), one.want) {
				t.Errorf("error %v, want %q", err, one.want)
			}
		})
	}
}

// FuzzImport: whatever a file holds, there is a result that can be printed, or an
// error.
func FuzzImport(f *testing.F) {
	for i, path := range []string{"testdata/nginx/conf.d/dns.stream", "testdata/haproxy/haproxy.cfg", "testdata/keepalived/keepalived.conf", "testdata/ipvs/saved"} {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i, string(data))
	}
	reads := []readFunc{importer.Nginx, importer.HAProxy, importer.Keepalived, ipvs}
	f.Fuzz(func(t *testing.T, which int, text string) {
		if strings.Contains(text, "include") {
			return // of whatever this machine has
		}
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		result, err := reads[uint(which)%uint(len(reads))](path, vips)
		if err != nil {
			return
		}
		if _, err := result.YAML(); err != nil {
			t.Error(err)
		}
	})
}

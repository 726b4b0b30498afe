package control

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/api"
)

func TestReloadRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"not YAML", "services: [", "xlb.yaml:1:"},
		{"wrong value", document(strings.Replace(web, "203.0.113.1:80", "203.0.113.1:70000", 1)), "xlb.yaml:8:"},
		{"start-only", strings.Replace(document(web), "eth0", "eth1", 1) + "flow_table_size: 4096\n", "interfaces, flow_table_size"},
		{"too many backends", document("  web: {frontends: 'tcp://203.0.113.1:80', probe: none, backends: [" + tooMany() + "]}\n"), "table_size"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := start(t, newMemory(), web)
			before := d.data.applies
			d.writeText(t, tt.text)
			err := d.Client.Reload(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) || !api.IsConfigError(err) {
				t.Errorf("reload: %v, want an error of the configuration with %q", err, tt.want)
			}
			s := d.status(t)
			if s.LastReload.OK || !strings.Contains(s.LastReload.Error, tt.want) || strings.Join(s.Reasons, " ") != "config_invalid" || !s.Ready {
				t.Errorf("last reload %+v, reasons %v, ready %v", s.LastReload, s.Reasons, s.Ready)
			}
			if len(s.Services) != 1 || len(s.Services[0].Backends) != 2 || d.data.applies != before {
				t.Error("the old configuration is not in force")
			}
			d.write(t, web)
			if err := d.Client.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s := d.status(t); !s.LastReload.OK || len(s.Reasons) != 0 {
				t.Errorf("after the file was mended: %+v, reasons %v", s.LastReload, s.Reasons)
			}
		})
	}
}

// tooMany lists more backends than the table of the tests has slots.
func tooMany() string {
	var list []string
	for i := range 252 {
		list = append(list, fmt.Sprintf("'10.1.%d.%d:80'", i/100, i%100+1))
	}
	return strings.Join(list, ", ")
}

// TestFileWatch changes the file in the ways of people and of Kubernetes.
func TestFileWatch(t *testing.T) {
	other := strings.Replace(web, "'10.0.0.2:80'", "'10.0.0.2:80', '10.0.0.3:80'", 1)
	three := func(t *testing.T, d *daemon) {
		t.Helper()
		eventually(t, func() string {
			got := d.states(t, "web")
			return unless(got["10.0.0.3:80"] == api.StateHealthy, "%v", got)
		})
	}
	replace := func(t *testing.T, path, text string) {
		t.Helper()
		temporary := path + ".new"
		if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(temporary, path); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("written in place", func(t *testing.T) {
		d := start(t, newMemory(), web)
		d.write(t, other)
		three(t, d)
	})
	t.Run("renamed over", func(t *testing.T) {
		d := start(t, newMemory(), web)
		replace(t, d.path, document(other))
		three(t, d)
	})
	t.Run("wrong, then right", func(t *testing.T) {
		d := start(t, newMemory(), web)
		replace(t, d.path, "services: [")
		eventually(t, func() string { s := d.status(t); return unless(!s.LastReload.OK, "%+v", s.LastReload) })
		replace(t, d.path, document(other))
		three(t, d)
	})
	t.Run("link swapped", func(t *testing.T) {
		dir := t.TempDir()
		for name, text := range map[string]string{"one": document(web), "two": document(other)} {
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name, "xlb.yaml"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		link := func(to, at string) {
			t.Helper()
			if err := os.Symlink(to, filepath.Join(dir, at)); err != nil {
				t.Fatal(err)
			}
		}
		link("one", "..data")
		link("..data/xlb.yaml", "xlb.yaml")
		d := startIn(t, dir, newMemory(), web) // writes through the links what is there
		link("two", "..data_tmp")
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		three(t, d)
	})
	t.Run("link to elsewhere", func(t *testing.T) {
		dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "real.yaml")
		if err := os.WriteFile(elsewhere, []byte(document(web)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(elsewhere, filepath.Join(dir, "xlb.yaml")); err != nil {
			t.Fatal(err)
		}
		d := startIn(t, dir, newMemory(), web)
		replace(t, elsewhere, document(other))
		three(t, d)
	})
}

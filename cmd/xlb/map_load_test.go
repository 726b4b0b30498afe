package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/maps"
)

// dumped writes a dump to a file after an edit.
func dumped(t *testing.T, name string, edit *strings.Replacer) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	text := xlb(t, "map", "dump", name, "--json").ok(t)
	if edit != nil {
		edited := edit.Replace(text)
		if edited == text {
			t.Fatalf("the edit changes nothing in\n%s", text)
		}
		text = edited
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func testMapLoad(t *testing.T) {
	for _, name := range maps.Loadable() {
		same(t, xlb(t, "map", "load", name, dumped(t, name, nil), "--yes").ok(t), "map "+name+" holds exactly this: nothing to change")
	}

	file := dumped(t, "backends", strings.NewReplacer("10.0.0.12:8080", "10.0.0.99:9090"))
	diff := `~ backend  #1 10.0.0.99:9090: serves as 10.0.0.12:8080 of #1 → serves as 10.0.0.99:9090 of #1`
	same(t, xlb(t, "map", "load", "backends", file, "--dry-run").ok(t), diff+"\ndry run: nothing was written")
	xlb(t, "map", "load", "backends", file).fails(t, exitUsage, "xlb: add --yes to write, or --dry-run to see the difference: nobody can be asked here")
	xlb(t, "map", "load", "services", file, "--yes").fails(t, exitUsage, fmt.Sprintf(`xlb: %s is a dump of map "backends", not of "services"`, file))

	ask := func(answer string) result {
		return xlbIn(t, t.Context(), env{stdin: strings.NewReader(answer), stdinIsTerminal: true}, "map", "load", "backends", file)
	}
	for _, answer := range []string{"n\n", "\n", "", "perhaps\n"} {
		r := ask(answer)
		if r.status != exitFailed || !strings.HasSuffix(r.stdout, "nothing was written\n") || !strings.Contains(r.stderr, "write 1 change to map backends? [y/N] ") {
			t.Errorf("answer %q: %+v", answer, r)
		}
	}
	if text := xlb(t, "map", "dump", "backends").ok(t); strings.Contains(text, "9090") {
		t.Fatalf("it was written all the same:\n%s", text)
	}
	if r := ask("y\n"); r.status != exitOK || !strings.HasSuffix(r.stdout, diff+"\nwrote 1 change\n") {
		t.Errorf("answer y: %+v", r)
	}
	if text := xlb(t, "map", "dump", "backends").ok(t); !strings.Contains(text, "10.0.0.99:9090") {
		t.Errorf("it was not written:\n%s", text)
	}

	// Back again, from standard input, told to programs.
	text, err := os.ReadFile(dumped(t, "backends", strings.NewReplacer("10.0.0.99:9090", "10.0.0.12:8080")))
	if err != nil {
		t.Fatal(err)
	}
	got := decode[loadResult](t, xlbIn(t, t.Context(), env{stdin: strings.NewReader(string(text))}, "map", "load", "--json", "-y", "backends", "-").ok(t))
	if !got.Applied || len(got.Changes) != 1 || got.Changes[0].Action != "change" {
		t.Errorf("JSON: %+v", got)
	}
}

// What is only a source is told, too.
func testMapLoadSource(t *testing.T) {
	load := func(name, entries string) string {
		return xlb(t, "map", "load", name, writeFile(t, fmt.Sprintf(`{"map": %q, "entries": [%s]}`, name, entries)), "--yes").ok(t)
	}
	frontend := `{"key": {"address": "203.0.113.10", "port": 80, "protocol": "tcp"}, "value": {"service": 1, "source": 0}}`
	source := `{"key": {"address": "192.0.2.1", "port": 0}, "value": {"service": 0, "source": 1}}`
	same(t, load("sources", `{"key": 0, "value": "192.0.2.1"}`), "+ source   192.0.2.1\nwrote 1 change")
	same(t, load("vips", frontend+","+source), "+ source   192.0.2.1: source number 0\nwrote 1 change")
	same(t, load("vips", frontend), "- source   192.0.2.1: source number 0\nwrote 1 change")
	same(t, load("sources", ""), "- source   192.0.2.1\nwrote 1 change")
}

func testMapLoadRefuses(t *testing.T, dir string) {
	wrong := dumped(t, "vips", strings.NewReplacer(`"service": 1`, `"service": 7`))
	xlb(t, "map", "load", "vips", wrong, "--yes").fails(t, exitUsage,
		"xlb: "+wrong+" cannot be loaded: frontend 203.0.113.10:80/tcp names service 7, which is not there")
	if r := xlb(t, "map", "load", "backends", writeFile(t, "no JSON"), "--yes"); r.status != exitUsage || len(lines(r.stderr)) != 1 {
		t.Errorf("%+v", r)
	}

	// While someone owns the maps only force writes.
	unlock, err := loader.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	file := dumped(t, "backends", strings.NewReplacer("10.0.0.12:8080", "10.0.0.99:9090"))
	r := xlb(t, "map", "load", "backends", file, "--yes")
	if r.status != exitFailed || !strings.Contains(r.stderr, "a daemon runs and would undo the change") || !strings.Contains(r.stderr, fmt.Sprint(os.Getpid())) {
		t.Errorf("%+v", r)
	}
	xlb(t, "map", "load", "backends", file, "--dry-run").ok(t)
	if out := xlb(t, "map", "load", "backends", file, "--yes", "--force").ok(t); !strings.HasSuffix(out, "wrote 1 change\n") {
		t.Errorf("forced: %s", out)
	}
	r = xlb(t, "detach")
	if r.status != exitFailed || !strings.HasPrefix(r.stderr, "xlb: a daemon runs: ") {
		t.Errorf("detach: %+v", r)
	}
}

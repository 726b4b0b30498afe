package main

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// kitBundle is a policy that does what a question asks for by its source port.
const kitBundle = "../../pkg/policy/policytest/testdata/kit"

// copyKit returns a copy of the bundle with other test vectors.
func copyKit(t *testing.T, vectors string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(kitBundle)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vectors.yaml"), []byte(vectors), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPolicyTest(t *testing.T) {
	out := lines(xlb(t, "policy", "test", kitBundle).ok(t))
	if last := out[len(out)-1]; !strings.HasPrefix(last, "kit: ") || !strings.HasSuffix(last, " vectors, 0 failed") || len(out) < 20 {
		t.Errorf("%s", strings.Join(out, "\n"))
	}
	for _, l := range out[:len(out)-1] {
		if !strings.HasPrefix(l, "ok    ") {
			t.Errorf("%s", l)
		}
	}
	got := decode[[]bundleTest](t, xlb(t, "policy", "test", kitBundle, kitBundle, "--json").ok(t))
	if len(got) != 2 || got[1].Passed != len(out)-1 || got[1].Failed != 0 || len(got[1].Vectors) != len(out)-1 {
		t.Errorf("%+v", got)
	}
}

func TestPolicyTestFails(t *testing.T) {
	dir := copyKit(t, `
- name: goes on
  flow: {source: "192.0.2.7:10", vip: "203.0.113.10:80"}
  want: {action: continue}
- name: traps
  flow: {source: "192.0.2.7:6", vip: "203.0.113.10:80"}
  want: {action: drop, reason: 2}
`)
	r := xlb(t, "policy", "test", dir)
	if r.status != exitFailed || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	same(t, r.stdout, `
ok    goes on
FAIL  `+dir+`/vectors.yaml:5: traps
      action is reject, want drop
      reason is 1 (listed), want 2 (errors)
kit: 2 vectors, 1 failed
`)
	r = xlb(t, "policy", "test", "--json", dir)
	got := decode[[]bundleTest](t, r.stdout)
	if r.status != exitFailed || len(got) != 1 || got[0].Failed != 1 || len(got[0].Vectors[1].Differences) != 2 || got[0].Vectors[1].Line != 5 {
		t.Errorf("%d %+v", r.status, got)
	}
}

func TestPolicyTestWrongFiles(t *testing.T) {
	dir := copyKit(t, "- nmae: x\n- name: y\n")
	xlb(t, "policy", "test", dir).fails(t, exitUsage, dir+`/vectors.yaml:1:3: unknown field "nmae"`)
	if err := os.Remove(filepath.Join(dir, "vectors.yaml")); err != nil {
		t.Fatal(err)
	}
	r := xlb(t, "policy", "test", dir)
	if r.status != exitUsage || !strings.Contains(r.stderr, "vectors.yaml: no such file") {
		t.Errorf("%+v", r)
	}
	module := filepath.Join(dir, "kit.wasm")
	xlb(t, "policy", "test", module).fails(t, exitFailed,
		`xlb: `+module+` has no test vectors (name their file in the manifest: "tests: vectors.yaml")`)
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte("name: kit\nabi: 1\nmodlue: kit.wasm\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"test", "inspect", "bench", "run", "build"} {
		r := xlb(t, "policy", verb, dir)
		if r.status != exitUsage || !strings.Contains(r.stderr, dir+"/policy.yaml:3:1: unknown key") {
			t.Errorf("xlb policy %s: %+v", verb, r)
		}
	}
	for _, verb := range []string{"test", "inspect", "bench", "run", "build"} {
		r := xlb(t, "policy", verb, "/nowhere")
		if r.status != exitUsage || !strings.Contains(r.stderr, "/nowhere") {
			t.Errorf("xlb policy %s: %+v", verb, r)
		}
	}
}

func TestPolicyRunFlow(t *testing.T) {
	ask := func(source string, more ...string) string {
		args := append([]string{"policy", "run", kitBundle, "--source", source, "--vip", "203.0.113.10:80"}, more...)
		return lines(xlb(t, args...).ok(t))[0]
	}
	table := filepath.Join(t.TempDir(), "deny.txt")
	if err := os.WriteFile(table, []byte("192.0.2.0/24 # all of them\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(config, []byte(`{"a": 1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ got, want string }{
		{ask("192.0.2.7:10"), "continue"},
		{ask("192.0.2.7:10", "--table", "deny="+table), "drop, reason 1: listed"},
		{ask("192.0.2.7:3"), "subset canary"},
		{ask("192.0.2.7:4", "--hash", "255"), "hash 0x000000ff"},
		{ask("192.0.2.7:5", "--backends", "4"), "backend 3"},
		{ask("192.0.2.7:6"), "reject, reason 1: listed"},
		{ask("192.0.2.7:7"), "drop, reason 12"}, // testNow is noon
		{ask("192.0.2.7:8", "--config", `{"abc": 1}`), "drop, reason 10"},
		{ask("192.0.2.7:8", "--config", "@"+config), "drop, reason 8"},
		{ask("192.0.2.7:9", "--flags", "syn,ack"), "drop, reason 18"},
		{ask("192.0.2.7:9", "--protocol", "udp"), "drop"},
	} {
		same(t, c.got, c.want)
	}
	out := xlb(t, "policy", "run", kitBundle, "--source", "192.0.2.7:3", "--vip", "203.0.113.10:80", "--json").ok(t)
	got := decode[flowAnswer](t, out)
	if got.Hook != "flow" || got.Action != "subset" || got.Subset != "canary" || got.Backend != nil || got.Hash != nil || got.Fuel == 0 {
		t.Errorf("%s", out)
	}
	r := xlb(t, "policy", "run", kitBundle, "--source", "192.0.2.7:1", "--vip", "203.0.113.10:80")
	if r.status != exitFailed || !strings.Contains(r.stderr, "hello") || !strings.Contains(r.stderr, "\nxlb: policy \"kit\": flow: ") {
		t.Errorf("a trap: %+v", r)
	}
}

func TestPolicyRunWeigh(t *testing.T) {
	backends := `[{address: "10.0.0.2:80", weight: 5, zone: a}, {address: "10.0.0.1:80", errors_total: 1}]`
	file := filepath.Join(t.TempDir(), "backends.yaml")
	if err := os.WriteFile(file, []byte(backends), 0o600); err != nil {
		t.Fatal(err)
	}
	want := `
BACKEND      WEIGHT  WAS  TIER  WAS  STATE    REASON  WHY
10.0.0.2:80      10    5     0    0                0
10.0.0.1:80       2    1     3    0  ejected       2  errors
`
	same(t, xlb(t, "policy", "run", kitBundle, "--hook", "weigh", "--backends-file", file).ok(t), want)
	same(t, xlbIn(t, t.Context(), env{stdin: strings.NewReader(backends)}, "policy", "run", kitBundle, "--hook", "weigh", "--backends-file", "-").ok(t), want)
	got := decode[[]backendAnswer](t, xlb(t, "policy", "run", kitBundle, "--hook", "weigh", "--backends-file", file, "--json").ok(t))
	if len(got) != 2 || got[0].Weight != 10 || got[0].OldWeight != 5 || !got[1].Eject || got[1].Text != "errors" {
		t.Errorf("%+v", got)
	}
	if err := os.WriteFile(file, []byte("- wieght: 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	xlb(t, "policy", "run", kitBundle, "--hook", "weigh", "--backends-file", file).fails(t, exitUsage, file+`:1:3: unknown field "wieght"`)
}

func TestPolicyRunProbe(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			ping := make([]byte, 6)
			if _, err := io.ReadFull(conn, ping); err == nil {
				io.WriteString(conn, "+PONG\r\n")
			}
			conn.Close()
		}
	}()
	defer func() { listener.Close(); <-done }()
	address := listener.Addr().String()
	same(t, xlb(t, "policy", "run", kitBundle, "--hook", "probe", "--address", address).ok(t), "healthy, role primary")
	got := decode[probeAnswer](t, xlb(t, "policy", "run", kitBundle, "--hook", "probe", "--address", address, "--json").ok(t))
	if !got.Healthy || got.Role != "primary" || got.Hook != "probe" {
		t.Errorf("%+v", got)
	}
	listener.Close()
	r := xlb(t, "policy", "run", kitBundle, "--hook", "probe", "--address", address)
	if r.status != exitFailed || !strings.Contains(r.stderr, "connection refused") {
		t.Errorf("nobody listens: %+v", r)
	}
}

func TestPolicyUsage(t *testing.T) {
	ask := "policy run " + kitBundle + " --source 192.0.2.7:4242 --vip 203.0.113.10:80 "
	for _, c := range []struct{ args, want string }{
		{"policy inspect a b", `unexpected argument "b" (usage: xlb policy inspect [OPTIONS] [PATH])`},
		{"policy new x", "--lang is missing (assemblyscript|c|go|rust)"},
		{"policy new --lang cobol x", `"cobol" is not a valid value for --lang (language of the source: assemblyscript|c|go|rust)`},
		{"policy new --lang c --hook x y", `"x" is not a valid value for --hook (what it is asked (default: flow): flow|weigh|probe)`},
		{"policy new --lang c Up", `"Up" is no name for a policy (1 to 63 of a-z, 0-9, '-', '.', '_')`},
		{"policy run " + kitBundle, "--source is missing (for example --source 192.0.2.7:4242)"},
		{"policy run " + kitBundle + " --source 192.0.2.7", `--source "192.0.2.7" is not an address with a port (for example 192.0.2.7:4242 or [2001:db8::7]:4242)`},
		{"policy run " + kitBundle + " --source 192.0.2.7:1", "--vip is missing (for example --vip 203.0.113.10:80)"},
		{"policy run " + kitBundle + " --source 192.0.2.7:1 --vip [::1]:1", "source 192.0.2.7 and vip ::1 are not of one family"},
		{ask + "--flags x", `--flags: "x" is no TCP flag (known: fin, syn, rst, psh, ack, urg, ece, cwr; several with commas between)`},
		{ask + "--flags syn --protocol udp", "flags do not go with udp"},
		{ask + "--protocol sctp", `"sctp" is not a valid value for --protocol (transport protocol: tcp|udp)`},
		{ask + "--address 1.1.1.1:1", "--address goes with --hook probe, this is flow"},
		{ask + "--config {", `--config is not JSON (for example '{"limit": 3}', or @FILE)`},
		{ask + "--config @/nowhere", "cannot read the policy's configuration: open /nowhere: no such file or directory"},
		{ask + "--table deny", `--table "deny": want NAME=FILE`},
		{"policy run " + kitBundle + " --hook weigh", "--backends-file is missing: the backends to weigh, a list as in test vectors, or - for standard input"},
		{"policy run " + kitBundle + " --hook weigh --backends-file /nowhere", "cannot read the backends: open /nowhere: no such file or directory"},
		{"policy run " + kitBundle + " --hook weigh --hash 7", "--hash goes with --hook flow, this is weigh"},
		{"policy run " + kitBundle + " --hook probe", "--address is missing (for example --address 10.0.0.11:6379)"},
	} {
		t.Run(c.args, func(t *testing.T) {
			xlb(t, strings.Fields(c.args)...).fails(t, exitUsage, "xlb: "+c.want)
		})
	}
}

func TestPolicyInspect(t *testing.T) {
	out := xlb(t, "policy", "inspect", kitBundle).ok(t)
	for _, want := range []string{
		"kit 1.0.0: Does what a question asks for by its source port.\n", "\nmodule    kit.wasm, ", "\nhooks     flow, weigh, probe\n",
		"\nmemory    128 KiB at the start, ", " a call, taken at ", "\ntables    deny (cidr)\n", "\nsubsets   spare, canary\n",
		"\ncounters  calls\n", "\nreasons   1 listed, 2 errors\n", "\nimport xlb.table_lookup  (i32, i64, i64) -> i64\n",
		"\nexport probe             (i32) -> i32\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	module := filepath.Join(kitBundle, "kit.wasm")
	for _, path := range []string{kitBundle, module} {
		got := decode[inspection](t, xlb(t, "policy", "inspect", "--json", path).ok(t))
		if got.Path != path || len(got.Hooks) != 3 || len(got.Imports) != 7 || len(got.Exports) != 7 || len(got.SHA256) != 64 ||
			got.Memory.Start != 131072 || got.Memory.Limit < got.Memory.Start || got.Fuel.Points < 10 || got.Fuel.Limit == 0 || got.Bytes < 500 {
			t.Errorf("%+v", got)
		}
	}
	notWasm := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(notWasm, []byte("no module"), 0o600); err != nil {
		t.Fatal(err)
	}
	xlb(t, "policy", "inspect", notWasm).fails(t, exitUsage,
		"xlb: "+notWasm+" is no bundle (want a directory with policy.yaml, a manifest, or a module)")
	if err := os.WriteFile(notWasm, []byte("\x00asm no module"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := xlb(t, "policy", "inspect", notWasm); r.status != exitFailed || len(lines(r.stderr)) != 1 || !strings.HasPrefix(r.stderr, "xlb: "+notWasm+": ") {
		t.Errorf("%+v", r)
	}
}

func TestPolicyBench(t *testing.T) {
	dir := copyKit(t, `
- name: goes on
  flow: {source: "192.0.2.7:10", vip: "203.0.113.10:80"}
  want: {action: continue}
`)
	var got struct {
		Flow struct {
			Flows       int
			Given       bool
			WithFuel    map[string]json.Number `json:"with_fuel"`
			WithoutFuel map[string]json.Number `json:"without_fuel"`
			FuelMost    int                    `json:"fuel_most"`
			Instance    int                    `json:"instance_ns"`
		}
		Load   int `json:"load_ns"`
		Memory int `json:"memory_bytes"`
	}
	out := xlb(t, "policy", "bench", "--json", dir).ok(t)
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Flow.Flows != 1 || !got.Flow.Given || got.Flow.FuelMost == 0 || got.Load <= 0 || got.Flow.Instance <= 0 || got.Memory != 131072 {
		t.Errorf("%s", out)
	}
	for _, f := range []map[string]json.Number{got.Flow.WithFuel, got.Flow.WithoutFuel} {
		for _, name := range []string{"median_ns", "min_ns", "max_ns"} {
			if ns, err := f[name].Float64(); err != nil || ns <= 1 || ns > 1e6 {
				t.Errorf("%s: %s", name, out)
			}
		}
	}
	text := lines(xlb(t, "policy", "bench", dir).ok(t))
	if len(text) != 6 || !strings.HasPrefix(text[0], "flow      ") || !strings.HasPrefix(text[1], "flows     1, of the test vectors") {
		t.Errorf("%s", strings.Join(text, "\n"))
	}
}

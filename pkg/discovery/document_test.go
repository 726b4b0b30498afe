package discovery

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/model"
)

var base = model.Backend{Address: netip.AddrPortFrom(netip.Addr{}, 8080), Weight: 5, Zone: "z", Tags: "t", Priority: 3}

func be(address string, weight uint16, zone string, tags model.Tags, priority uint8, drain bool) model.Backend {
	return model.Backend{Address: netip.MustParseAddrPort(address), Weight: weight, Zone: zone, Tags: tags, Priority: priority, Drain: drain}
}

func called(b model.Backend, serverID string) model.Backend {
	b.ServerID = serverID
	return b
}

var documentBackends = []model.Backend{
	be("10.0.0.1:8080", 5, "z", "t", 3, false), be("10.0.0.2:81", 5, "z", "t", 3, false), be("[2001:db8::1]:8080", 5, "z", "t", 3, false),
	be("[2001:db8::2]:82", 0, "r 1", "a,b,t", 0, true), be("10.0.0.3:83", 5, "z", "one,t", 3, false), called(be("10.0.0.4:8080", 65535, "z", "t", 255, false), "00c0ffee"),
}

func TestDocument(t *testing.T) {
	const list = `["10.0.0.1", "10.0.0.2:81", "2001:db8::1",
 {"address": "[2001:db8::2]:82", "weight": 0, "zone": "r 1", "tags": ["b", "a"], "priority": 0, "drain": true},
 {"address": "10.0.0.3", "port": 83, "tags": "one"}, {"address": "10.0.0.4", "weight": 65535, "priority": 255, "server_id": "00C0ffee"}]`
	for _, c := range []struct {
		text string
		yaml bool
	}{
		{list, false},
		{"\n{\"backends\": " + list + "}\n", false},
		{list, true},
		{"{backends: [10.0.0.1, 10.0.0.2:81, '2001:db8::1', {address: '[2001:db8::2]:82', weight: 0, zone: r 1, tags: [b, a], priority: 0, drain: true}, {address: 10.0.0.3, port: 83, tags: one}, {address: 10.0.0.4, weight: 65535, priority: 255, server_id: 00C0ffee}]}", true},
		{"# ours\nbackends:\n- 10.0.0.1\n- 10.0.0.2:81\n- 2001:db8::1\n- address: '[2001:db8::2]:82'\n  weight: 0\n  zone: r 1\n  tags: [b, a]\n  priority: 0\n  drain: true\n- {address: 10.0.0.3, port: 83, tags: one}\n- address: 10.0.0.4\n  weight: 65535\n  priority: 255\n  server_id: '00c0ffee'\n", true},
	} {
		got, warnings, err := parseDocument("d", []byte(c.text), c.yaml, base)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v %q", c.text, err, warnings)
		}
		same(t, c.text, got, documentBackends)
	}
	for _, text := range []string{"[]", `{"backends": []}`} {
		for _, yaml := range []bool{false, true} {
			if got, w, err := parseDocument("d", []byte(text), yaml, base); err != nil || len(got)+len(w) > 0 {
				t.Errorf("%s: %v %v %v", text, got, w, err)
			}
		}
	}
}

func TestDocumentErrors(t *testing.T) {
	for _, c := range []struct{ json, yaml, want string }{
		{"", "", "d: empty; a document without backends is []"},
		{" \n", "# nothing\n", "d: empty; a document without backends is []"},
		{"\n7", "\n7", "d:2: a document is a list of backends, or a mapping with such a list as backends"},
		{"{}", "", "d:1: a document is a list of backends, or a mapping with such a list as backends"},
		{"{\n\"hosts\": []}", "", `d:2: key "hosts": a document is a list of backends, or a mapping with such a list as backends, once`},
		{`{"backends": [], "backends": []}`, "", `d:1: key "backends": a document is a list of backends, or a mapping with such a list as backends, once`},
		{"{\"backends\":\n {}}", "", "d:2: backends must be a list"},
		{"", "backends: {}\n", "d:1: backends must be a list"},
		{"[\"10.0.0.1\",\n\n\"10.0", "", "d:3: the document ends in the middle"},
		{"[\"10.0.0.1\"\n", "", "d:2: the document ends in the middle"},
		{"[\"10.0.0.1\",\n}]", "", "d:2: not JSON: invalid character '}' looking for beginning of value"},
		{"[]\n[]", "[]\n---\n[]\n", ""},
		{"[\n\"ten\"]", "\n- ten\n", `d:2: "ten" is not an address with or without a port`},
		{"", "- &a 10.0.0.1\n", "d:1: anchors, aliases and tags are not supported here"},
		{"", "- {address: 10.0.0.1, weight: 010}\n", "d:1: 010 is neither text nor a plain decimal number (quote it if it is meant as text)"},
		{"", "- [\n", ""},
		{"", "- \xff\n", "d: not valid UTF-8"},
		{"", strings.Repeat("[", 1000), ""},
	} {
		for yaml, text := range map[bool]string{false: c.json, true: c.yaml} {
			if text == "" && c.json+c.yaml != "" {
				continue
			}
			got, _, err := parseDocument("d", []byte(text), yaml, base)
			if err == nil {
				t.Errorf("%q accepted: %v", text, got)
			} else if c.want != "" && err.Error() != c.want {
				t.Errorf("%q: %v, want %s", text, err, c.want)
			} else if !strings.HasPrefix(err.Error(), "d:") {
				t.Errorf("%q: %v does not say where", text, err)
			}
		}
	}
}

// TestDocumentLeavesOut: what is wrong with one backend does not touch the
// others.
func TestDocumentLeavesOut(t *testing.T) {
	const text = `[
"10.0.0.1",
"ten",
{"adress": "10.0.0.2"},
{"address": "10.0.0.2", "port": 0}, {"address": "10.0.0.2:80", "port": 80},
{"address": "10.0.0.2", "weight": 65536},
{"address": "10.0.0.2", "weight": "1"},
{"address": "10.0.0.2", "priority": 1.5},
{"address": "10.0.0.2", "zone": 1},
{"address": "10.0.0.2", "tags": [1]},
{"address": "10.0.0.2", "drain": 1},
{"port": 80},
7,
{"address": "10.0.0.2", "server_id": "abc"}, {"address": "10.0.0.2", "server_id": 10},
{"address": "10.0.0.2", "port": 0, "weight": -1}
]`
	want := []string{
		`d:3: "ten" is not an address with or without a port`,
		`d:4: unknown key "adress" (known: address, port, weight, zone, tags, priority, drain, server_id)`,
		`d:5: port must be a whole number from 1 to 65535`, `d:5: the port is given twice`,
		`d:6: weight must be a whole number from 0 to 65535`, `d:7: weight must be a whole number from 0 to 65535`,
		`d:8: priority must be a whole number from 0 to 255`, `d:9: zone must be a text`, `d:10: tags must be a list of texts`,
		`d:11: drain must be true or false`, `d:12: address is missing, or no text`, `d:13: a backend is an address, or a mapping with address`,
		`d:14: server_id must be 1 to 15 octets in hexadecimal digits, quoted if all are decimal`, `d:14: server_id must be 1 to 15 octets in hexadecimal digits, quoted if all are decimal`,
		`d:15: port must be a whole number from 1 to 65535, weight must be a whole number from 0 to 65535`,
	}
	for i := range want {
		want[i] += "; this backend is left out"
	}
	for _, yaml := range []bool{false, true} {
		if yaml {
			want = append(want[:6], want[7:]...) // 1.5 is refused before
		}
		text := text
		if yaml {
			text = strings.Replace(text, `{"address": "10.0.0.2", "priority": 1.5},`, "", 1)
		}
		got, warnings, err := parseDocument("d", []byte(text), yaml, base)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "warnings", warnings, want)
		same(t, "backends", got, documentBackends[:1])
	}
}

func TestParseBackend(t *testing.T) {
	for text, want := range map[string]model.Backend{
		"10.0.0.1\n": documentBackends[0], `"10.0.0.2:81"`: documentBackends[1], `{"address": "10.0.0.3", "port": 83, "tags": "one"}`: documentBackends[4],
	} {
		got, err := parseBackend([]byte(text), base)
		if err != nil {
			t.Error(err)
		}
		same(t, text, got, want)
	}
	for _, text := range []string{"", "{", "{} {}", `"10.0.0.1" x`, "[]", "null"} {
		if got, err := parseBackend([]byte(text), base); err == nil {
			t.Errorf("%q accepted: %v", text, got)
		}
	}
}

// FuzzDocument: whatever the bytes, there are backends or there is an error,
// and what is JSON says the same in YAML.
func FuzzDocument(f *testing.F) {
	f.Add([]byte(`{"backends": ["10.0.0.1:80", {"address": "::1", "port": 1, "tags": ["a"]}]}`))
	f.Add([]byte("- 10.0.0.1\n- {address: '::1', port: 7}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, yaml := range []bool{false, true} {
			got, warnings, err := parseDocument("d", data, yaml, base)
			if err != nil && (got != nil || warnings != nil) {
				t.Errorf("backends %v beside error %v", got, err)
			}
			for _, b := range got {
				if !b.Address.Addr().IsValid() || b.Address.Port() == 0 {
					t.Errorf("backend %+v", b)
				}
			}
		}
		_, _ = parseBackend(data, base)
	})
}

// TestDiscoveryPage reads the documents that docs/discovery.md shows.
func TestDiscoveryPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/discovery.md")
	must(t, err)
	_, section, _ := strings.Cut(string(page), "\n## file\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for kind, want := range map[string]int{"yaml": 4, "json": 2} {
		blocks := strings.Split(section, "```"+kind+"\n")
		text, _, _ := strings.Cut(blocks[len(blocks)-1], "```")
		got, warnings, err := parseDocument("page", []byte(text), kind == "yaml", base)
		if err != nil || len(warnings) > 0 || len(got) != want {
			t.Errorf("%d backends, warnings %q, %v in\n%s", len(got), warnings, err, text)
		}
	}
}

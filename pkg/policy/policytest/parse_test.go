package policytest

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

const good = `
# Vectors of all kinds.
- name: listed
  config: {default: allow, limit: 3, list: [a, 1.5, null]}
  tables:
    deny:
      192.0.2.0/24: 1
      2001:db8::/32: DE
      64512: 7
  now: 2026-03-14T12:00:00Z
  before:
    - flow: {source: "192.0.2.7:4242", vip: "203.0.113.10:80"}
      repeat: 9
  repeat: 3
  flow: {source: "192.0.2.7:4242", vip: "203.0.113.10:80", flags: "syn,ece", hash: 0xffffffffffffffff, backends: 0}
  want: {action: drop, reason: 1, counters: {denied: 3}}
- name: over UDP
  flow:
    source: "[2001:db8::1]:53"
    vip: "[2001:db8::2]:53"
    protocol: udp
  want: {action: subset, subset: canary}
- name: weights
  weigh:
    backends:
      - {address: "10.0.0.1:80", weight: 0, tier: 2, zone: a, tags: [y, x], state: draining, latency: 1.5ms, flows: 1, flows_total: 2, errors_total: 3}
      - address: 10.0.0.2:80
  want:
    - {address: "10.0.0.2:80", weight: 7, tier: 0, eject: true, reason: 2}
- name: a failure of weigh
  weigh: {backends: [{address: "10.0.0.1:80"}]}
  want: {error: out of range}
- name: speaks
  probe:
    timeout: 300ms
    script: [{expect: "PING\r\n"}, {send: "+PONG\r\n"}, {wait: 1ms}, {close: true}]
  want: {state: healthy, role: primary}
- name: refused
  validate: {limit: -1}
  want: {error: limit}
- name: accepted
  validate: {}
  want: {valid: true}
`

func parsed(t *testing.T, text string) []Vector {
	t.Helper()
	vectors, err := Parse("v.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return vectors
}

func TestParse(t *testing.T) {
	vectors := parsed(t, good)
	var got []string
	for _, v := range vectors {
		got = append(got, v.Name)
	}
	want := []string{"listed", "over UDP", "weights", "a failure of weigh", "speaks", "refused", "accepted"}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	v := vectors[0]
	if v.Line != 3 || v.Column != 3 || !v.now.Equal(time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)) || len(v.before) != 1 {
		t.Errorf("%+v", v)
	}
	var config struct {
		Default string
		Limit   int
		List    []any
	}
	if err := json.Unmarshal(v.config, &config); err != nil || config.Default != "allow" || config.Limit != 3 || len(config.List) != 3 {
		t.Errorf("config %s: %v", v.config, err)
	}
	tables := map[string][]policy.TableEntry{"deny": {{Key: "192.0.2.0/24", Value: "1"}, {Key: "2001:db8::/32", Value: "DE"}, {Key: "64512", Value: "7"}}}
	if d := cmp.Diff(tables, v.tables); d != "" {
		t.Error(d)
	}
	if vectors[4].timeout != 300*time.Millisecond {
		t.Errorf("timeout %v", vectors[4].timeout)
	}
	if n := v.before[0].(*flowQuestion).repeat; n != 9 {
		t.Errorf("asked %d times before", n)
	}
}

func TestParseFlow(t *testing.T) {
	vectors := parsed(t, good)
	q := vectors[0].ask.(*flowQuestion)
	if q.in.Source != netip.MustParseAddrPort("192.0.2.7:4242") || q.in.Destination != netip.MustParseAddrPort("203.0.113.10:80") ||
		q.in.Protocol != model.TCP || q.in.TCPFlags != 0x42 || q.in.Hash != 1<<64-1 || q.in.Backends != 0 || q.repeat != 3 {
		t.Errorf("%+v", q.in)
	}
	if q = vectors[1].ask.(*flowQuestion); q.in.Protocol != model.UDP || q.in.TCPFlags != 0 || q.in.Backends != 1 || *q.want.Subset != "canary" {
		t.Errorf("%+v", q)
	}
	if q = vectors[0].before[0].(*flowQuestion); q.in.TCPFlags != SYN {
		t.Errorf("a TCP flow begins with flags %v", TCPFlags(q.in.TCPFlags))
	}
}

func TestParseWeigh(t *testing.T) {
	q := parsed(t, good)[2].ask.(*weighQuestion)
	want := []policy.WeighInput{{
		Address: netip.MustParseAddrPort("10.0.0.1:80"), State: policy.StateDraining, Tier: 2, Zone: "a", Tags: "x,y",
		Latency: 1500 * time.Microsecond, Flows: 1, FlowsTotal: 2, ErrorsTotal: 3,
	}, {Address: netip.MustParseAddrPort("10.0.0.2:80"), State: policy.StateUp, Weight: 1}}
	if d := cmp.Diff(want, q.in, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Error(d)
	}
	row, ok := q.want[1]
	if len(q.want) != 1 || !ok || *row.Weight != 7 || *row.Tier != 0 || !row.Eject || *row.Reason != 2 {
		t.Errorf("%+v", q.want)
	}
}

// Every mistake is told with its place.
func TestParseMistakes(t *testing.T) {
	flow := `flow: {source: "192.0.2.7:1", vip: "203.0.113.10:80"}`
	for _, c := range []struct{ text, want string }{
		{"", "1:1: the file is empty"},
		{"# nothing", "1:1: the file is empty"},
		{"[]", "1:1: the file holds no vector"},
		{"name: a", "1:5: want a sequence, not a mapping"},
		{"- name: a\n---\n- name: b", `3:1: a second document in the file (remove the "---" before it)`},
		{"- name: [a", "1:9: "},
		{"- &a {name: b}", "1:3: anchors, aliases and tags are not read here (write the value out)"},
		{"- name: a\n  tables: {deny: {2001:db8::/32: 1}}", `2:19: inside [ ] and { }, quote a text that holds a colon ("192.0.2.7:4242")`},
		{"- name: a\n  weigh: {backends: [a:b]}", `2:22: inside [ ] and { }, quote a text that holds a colon ("192.0.2.7:4242")`},
		{"-", "1:3: a value is missing"},
		{"- name: a\n  flow:\n  want: {action: drop}", "2:8: a value is missing"},
		{"- name: a\n  config: ~\n  want: {action: drop}", "2:11: a value is missing"},
		{"- name: a\n  probe: {script: [~]}\n  want: {action: drop}", "2:20: a value is missing"},
		{"- nmae: a", `1:3: unknown field "nmae"`},
		{"- name: a\n  name: b", `2:3: mapping key "name" already defined at [1:3]`},
		{"- want: {}", "1:3: a vector has no name"},
		{"- name: a\n  " + flow, `1:3: vector "a" has no want`},
		{"- name: a\n  want: {}", `1:3: vector "a" must ask one thing: flow, weigh, probe or validate`},
		{"- name: a\n  want: {}\n  validate: {}\n  " + flow, `1:3: vector "a" must ask one thing: flow, weigh, probe or validate`},
		{"- name: a\n  " + flow + "\n  want: {}", "3:9: want of a flow names an action or an error"},
		{"- name: a\n  " + flow + "\n  want: {action: explode}", `3:18: unknown action "explode" (known: `},
		{"- name: a\n  " + flow + "\n  want: {action: drop, raeson: 1}", `3:24: unknown field "raeson"`},
		{"- name: a\n  " + flow + "\n  want: {action: drop, reason: 65536}", "3:32: 65536 is out of range"},
		{"- name: a\n  " + flow + "\n  want: {action: drop, reason: one}", `3:32: want a whole number, not "one"`},
		{"- name: a\n  " + flow + "\n  repeat: 0\n  want: {action: drop}", "1:3: repeat is 0 (want 1 to 1000000)"},
		{"- name: a\n  flow: {vip: \"1.1.1.1:1\"}\n  want: {action: drop}", "2:9: the flow has no source (an address with a port, such as 192.0.2.7:4242)"},
		{"- name: a\n  flow: {source: \"1.1.1.1:1\"}\n  want: {action: drop}", "2:9: the flow has no vip (an address with a port, such as 203.0.113.10:80)"},
		{"- name: a\n  flow: {source: \"1.1.1.1:1\", vip: \"[::1]:1\"}\n  want: {action: drop}", "2:9: source 1.1.1.1 and vip ::1 are not of one family"},
		{"- name: a\n  flow: {source: 1.1.1.1}\n  want: {action: drop}", "2:18: "},
		{"- name: a\n  flow: {protocol: sctp}\n  want: {action: drop}", `2:20: unknown protocol "sctp" (known: tcp, udp)`},
		{"- name: a\n  flow: {flags: [syn]}\n  want: {action: drop}", "2:17: want a text or a number"},
		{"- name: a\n  flow: {flags: sny}\n  want: {action: drop}", `2:17: "sny" is no TCP flag (known: fin, syn, rst, psh, ack, urg, ece, cwr; several with commas between)`},
		{"- name: a\n  flow: {source: \"1.1.1.1:1\", vip: \"1.1.1.1:1\", protocol: udp, flags: syn}\n  want: {action: drop}", "2:9: flags do not go with udp"},
		{"- name: a\n  now: yesterday\n  " + flow + "\n  want: {action: drop}", "2:8: "},
		{"- name: a\n  config: .inf\n  " + flow + "\n  want: {action: drop}", "2:11: this cannot be written as JSON"},
		{"- name: a\n  before: [{}]\n  " + flow + "\n  want: {action: drop}", "2:12: what is asked before is one of flow and weigh"},
		{"- name: a\n  weigh: {backends: []}\n  want: []", "2:10: weigh has no backends"},
		{"- name: a\n  weigh:\n    backends:\n      - weight: 1\n  want: []", "4:9: a backend has no address (such as 10.0.0.11:8080)"},
		{"- name: a\n  weigh: {backends: [{address: \"1.1.1.1:1\", state: dead}]}\n  want: []", `2:52: unknown state "dead" (known: unknown, up, down, draining)`},
		{"- name: a\n  weigh: {backends: [{address: \"1.1.1.1:1\", weight: -1}]}\n  want: []", "2:53: "},
		{"- name: a\n  weigh: {backends: [{address: \"1.1.1.1:1\", latency: -1s}]}\n  want: []", `2:54: "-1s" is no duration (for example 200ms or 2s)`},
		{"- name: a\n  weigh: {backends: [{address: \"1.1.1.1:1\"}, {address: \"1.1.1.1:1\"}]}\n  want: []", "2:46: 1.1.1.1:1 is there twice"},
		{"- name: a\n  weigh: {backends: [{address: \"1.1.1.1:1\"}]}\n  want: []", "3:9: want of weigh is empty"},
		{"- name: a\n  weigh: {backends: [{address: \"1.1.1.1:1\"}]}\n  want: {}", "3:9: want of weigh is a list of backends, or an error"},
		{"- name: a\n  weigh: {backends: [{address: \"1.1.1.1:1\"}]}\n  want: [{weight: 1}, {weight: 2}]", "3:9: want has more rows than the question has backends"},
		{"- name: a\n  weigh: {backends: [{address: \"1.1.1.1:1\"}]}\n  want: [{address: \"1.1.1.1:2\"}]", "3:9: want names 1.1.1.1:2, which is no backend of the question"},
		{"- name: a\n  weigh: {backends: [{address: \"1.1.1.1:1\"}]}\n  want: [{}, {address: \"1.1.1.1:1\"}]", "3:9: want names 1.1.1.1:1 twice"},
		{"- name: a\n  probe: {script: [{expect: a, send: b}]}\n  want: {state: healthy}", "2:20: a step of the script is one of expect, send, wait and close: true"},
		{"- name: a\n  probe: {script: []}\n  want: {state: fine}", `3:9: state is "fine" (want healthy or unhealthy)`},
		{"- name: a\n  probe: {script: []}\n  want: {role: x}", "3:9: want of a probe names a state or an error"},
		{"- name: a\n  repeat: 2\n  probe: {script: []}\n  want: {state: healthy}", "1:3: repeat goes with flow and weigh only"},
		{"- name: a\n  validate: {}\n  want: {}", "3:9: want of validate is {valid: true} or {error: TEXT}"},
		{"- name: a\n  validate: {}\n  want: {valid: true, error: x}", "3:9: want of validate is {valid: true} or {error: TEXT}"},
		{"- name: a\n  validate: {}\n  config: {}\n  want: {valid: true}", "1:3: config, tables and before do not go with validate"},
		{"- name: a\n  validate: {}\n  want: {valid: true}\n- name: a\n  validate: {}\n  want: {valid: true}", `4:3: a second vector is called "a"`},
		{strings.Repeat("[", 100), "1:65: nested more than 64 levels deep"},
		{"\xff", "1:1: the file is not valid UTF-8"},
	} {
		_, err := Parse("v.yaml", []byte(c.text))
		var e *Error
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), "v.yaml:"+c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s\ngives %v\nwant  v.yaml:%s", c.text, err, c.want)
		}
	}
}

func TestParseTellsAllVectors(t *testing.T) {
	_, err := Parse("v.yaml", []byte("- name: a\n  want: {}\n- name: b\n  want: {}"))
	want := "v.yaml:1:3: vector \"a\" must ask one thing: flow, weigh, probe or validate\n" +
		"v.yaml:3:3: vector \"b\" must ask one thing: flow, weigh, probe or validate"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

func TestParseBackends(t *testing.T) {
	in, err := ParseBackends("b.json", []byte(`[{"address": "10.0.0.1:80", "weight": 5}]`))
	if err != nil || len(in) != 1 || in[0].Weight != 5 || in[0].State != policy.StateUp {
		t.Errorf("%+v %v", in, err)
	}
	for text, want := range map[string]string{
		"[]":            "b.yaml:1:1: there are no backends",
		"- weight: 1":   "b.yaml:1:3: a backend has no address (such as 10.0.0.11:8080)",
		"- {wieght: 1}": `b.yaml:1:4: unknown field "wieght"`,
	} {
		if _, err := ParseBackends("b.yaml", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// The example in the documentation is right.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../../docs/policy-vectors.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	example, _, _ := strings.Cut(rest, "```")
	if n := len(parsed(t, example)); n != 7 {
		t.Errorf("%d vectors", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Fuzz(func(t *testing.T, data []byte) {
		vectors, err := Parse("v.yaml", data)
		if err == nil && len(vectors) == 0 {
			t.Error("no vectors and no mistake")
		}
	})
}

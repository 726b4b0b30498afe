package config

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/xlb-io/xlb/pkg/model"
)

var (
	policyNameKind = str("policy name", `^[a-z0-9._-]{1,63}$`, 63, "1 to 63 of `a-z`, `0-9`, `-`, `.`, `_`")
	wordKind       = str("name", `^[A-Za-z0-9._-]{1,63}$`, 63, "1 to 63 letters, digits, `-`, `.`, `_`")
	fileNameKind   = str("file name", `^[^\x00-\x1f\x7f]+$`, 4096, "relative to the configuration file's directory, unless it begins with `/`")
	sha256Kind     = str("SHA-256", `^[0-9a-f]{64}$`, 64, "64 hexadecimal digits")
	tagKind        = str("tag", model.TagPattern, model.MaxLabel, "1 to 63 bytes, no comma, space or control character")
)

var policyFileKind = needed(object("policy", "A WebAssembly module that decides on new flows, weights or health; see docs/policy-abi.md.",
	of("path", fileNameKind.kind, func(p *rawPolicy) *opt[string] { return &p.path }, about{
		doc: "The bundle: its directory, its `policy.yaml`, or a module (`.wasm`) alone.", example: "/etc/xlb/policies/canary", required: true}),
	of("sha256", sha256Kind.kind, func(p *rawPolicy) *opt[string] { return &p.sha256 }, about{
		doc: "The module's hash (`sha256sum`). Another module is refused.", defDoc: "any module", example: strings.Repeat("0123456789abcdef", 4)}),
	of("config", jsonKind, func(p *rawPolicy) *opt[json.RawMessage] { return &p.config }, about{
		doc: "What the module is configured by; the manifest's schema and the module check it. A change reaches the running module, which keeps its state.", example: "{percent: 5}"}),
	of("tables", mapOf(wordKind, fileNameKind.kind), func(p *rawPolicy) *opt[[]named[string]] { return &p.tables }, about{
		doc: "Files for the look-up tables that the manifest names: a line an entry (`KEY VALUE`), or `FILE.mmdb#field`.", example: "{blocked: /etc/xlb/blocked.txt}"}),
	of("subsets", mapOf(wordKind, subsetKind), func(p *rawPolicy) *opt[[]named[rawSubset]] { return &p.subsets }, about{
		doc: "Which backends the subsets are that the manifest names.", example: "{canary: {tag: canary}}"}),
	of("on_error", enum(model.ErrorContinue, model.ErrorDrop), func(p *rawPolicy) *opt[model.OnError] { return &p.onError }, about{
		doc: "When the module fails on a flow: `continue` asks the next policy (fail open), `drop` drops the flow (fail closed).", def: model.ErrorContinue, example: "drop"}),
	of("fuel", integer(1, 100_000_000), func(p *rawPolicy) *opt[int] { return &p.fuel }, about{
		doc: "Budget of a call on the flow path, in loop iterations and function calls.", defDoc: "the manifest's, or `100000`", example: "20000"}),
	of("memory", sizeKind, func(p *rawPolicy) *opt[int] { return &p.memory }, about{
		doc: "Most memory of an instance; there is one for each service that names the policy, and one for weights and probes.", defDoc: "the manifest's, or `16MiB`", example: "64MiB"}),
	of("timeout", duration(10*time.Millisecond, time.Minute, time.Millisecond), func(p *rawPolicy) *opt[time.Duration] { return &p.timeout }, about{
		doc: "Limit of a call beside the flow path: start, validate, configure, weigh. A probe has the probe's own.", defDoc: "`1s`", example: "5s"}),
))

var subsetKind = needed(object("subset", "A service's backends that have all that is given here.",
	of("tag", tagKind.kind, func(s *rawSubset) *opt[string] { return &s.tag }, about{doc: "Those with this tag.", example: "canary"}),
	of("zone", zoneKind.kind, func(s *rawSubset) *opt[string] { return &s.zone }, about{doc: "Those of this zone.", example: "rack-2"}),
))

var policyUseKind = shorthand(policyNameKind.kind,
	needed(object("policies", "The long form of a place in a service's chain of policies. The short form is the policy's name.",
		of("policy", policyNameKind.kind, func(u *rawPolicyUse) *opt[string] { return &u.policy }, about{
			doc: "One of `policies:`.", example: "canary", required: true}),
		of("mode", enum(model.PolicyEnforce, model.PolicyShadow), func(u *rawPolicyUse) *opt[model.PolicyMode] { return &u.mode }, about{
			doc: "`enforce` does what the policy says; `shadow` only counts and reports what it would have done.", def: model.PolicyEnforce, example: "shadow"}),
	)),
	func(name opt[string]) rawPolicyUse { return rawPolicyUse{policy: name} })

const maxPolicyMemory = 1 << 30

// sizeKind is an amount of memory in whole WebAssembly pages.
var sizeKind = textOf("size", "64KiB to 1GiB, in steps of 64KiB", `^[0-9]{1,7}(KiB|MiB|GiB)$`, func(s string) (int, *problem) {
	const hint = "for example 256KiB or 16MiB"
	for unit, bytes := range map[string]int{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		digits, ok := strings.CutSuffix(s, unit)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(digits)
		switch {
		case err != nil:
		case n < 1 || n > maxPolicyMemory/bytes:
			return 0, &problem{s + " is out of range", "64KiB to 1GiB"}
		case n*bytes%65536 != 0:
			return 0, &problem{s + " is no multiple of 64KiB, the size of a WebAssembly page", hint}
		default:
			return n * bytes, nil
		}
	}
	return 0, &problem{quote(s) + " is not a size", hint}
})

// jsonKind is any value, kept as JSON.
var jsonKind = kind[json.RawMessage]{
	shape: shape{name: "any value", json: map[string]any{}},
	parse: func(r *reader, n ast.Node) (json.RawMessage, bool) {
		v, ok := r.plain(n)
		if !ok {
			return nil, false
		}
		b, err := json.Marshal(v)
		if err != nil {
			r.wrong(n, "cannot be written as JSON: "+err.Error(), "")
			return nil, false
		}
		return b, true
	},
}

// plain turns a syntax tree into values as encoding/json knows them.
func (r *reader) plain(n ast.Node) (any, bool) {
	n, ok := r.open(n)
	if !ok {
		return nil, false
	}
	switch n := n.(type) {
	case *ast.NullNode:
		return nil, true
	case *ast.BoolNode:
		return n.Value, true
	case *ast.IntegerNode:
		if !decimal.MatchString(n.GetToken().Value) {
			r.wrong(n, fmt.Sprintf("%s is not a plain decimal number", n.GetToken().Value), "decimal digits, or quotes around it")
			return nil, false
		}
		return json.Number(n.GetToken().Value), true
	case *ast.FloatNode:
		return n.Value, true
	case *ast.SequenceNode:
		return r.plainList(n)
	case *ast.MappingNode, *ast.MappingValueNode:
		return r.plainMap(n)
	}
	if s, ok := text(n); ok {
		return s, true
	}
	r.wrong(n, fmt.Sprintf("%s is no value that JSON knows", describe(n)), "quote it if it is meant as text")
	return nil, false
}

func (r *reader) plainList(n *ast.SequenceNode) (any, bool) {
	list, whole := make([]any, 0, len(n.Values)), true
	for _, item := range n.Values {
		v, ok := r.plain(item)
		list, whole = append(list, v), whole && ok
	}
	return list, whole
}

func (r *reader) plainMap(n ast.Node) (any, bool) {
	entries, _ := r.entries(n)
	all, whole := make(map[string]any, len(entries)), true
	for _, e := range entries {
		v, ok := r.plain(e.value)
		all[e.key], whole = v, whole && ok
	}
	return all, whole
}

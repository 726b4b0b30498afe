package config

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/xlb-io/xlb/pkg/model"
)

// expectation is a text or, in its place, a regular expression.
type expectation struct{ text, pattern string }

var (
	sendKind = textOf("text", "1 to 4096 bytes; escapes `\\r \\n \\t \\0 \\\\ \\xNN`, or `hex:` and digits", `^[\s\S]+$`, payload)

	expectKind = textOf("text", "as `send`, or `re:` and a regular expression (RE2)", `^[\s\S]+$`, func(s string) (expectation, *problem) {
		pattern, isPattern := strings.CutPrefix(s, "re:")
		if !isPattern {
			text, p := payload(s)
			return expectation{text: text}, p
		}
		if _, err := regexp.Compile(pattern); err != nil || pattern == "" || len(s) > maxPayload {
			return expectation{}, &problem{quote(s) + " is not a regular expression", "for example re:^220 .*ESMTP (RE2, without look-around)"}
		}
		return expectation{pattern: pattern}, nil
	})

	// A secret stands in no message.
	passwordKind = textOf("password", "1 to 1024 bytes, no control characters", `^[^\x00-\x1f\x7f]+$`, func(s string) (string, *problem) {
		if !secret.MatchString(s) || len(s) > 1024 {
			return "", &problem{"this is not a valid password", "1 to 1024 bytes, no control characters"}
		}
		return s, nil
	})
	secret = regexp.MustCompile(`^[^\x00-\x1f\x7f]+$`)
)

const maxPayload = 4096

// payload is the bytes that a text with escapes, or with hex: in front, stands for.
func payload(s string) (string, *problem) {
	if len(s) == 0 || len(s) > maxPayload {
		return "", &problem{fmt.Sprintf("must be 1 to %d bytes long", maxPayload), ""}
	}
	if digits, ok := strings.CutPrefix(s, "hex:"); ok {
		b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		if err != nil || len(b) == 0 {
			return "", &problem{quote(s) + " is not a row of bytes", "pairs of hex digits, for example hex:00 01 ff"}
		}
		return string(b), nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		c, length, ok := escape(s[i+1:])
		if !ok {
			return "", &problem{quote(s) + " holds an unknown escape", `known: \r \n \t \0 \\ \xNN; a backslash is \\`}
		}
		b.WriteByte(c)
		i += length
	}
	return b.String(), nil
}

// escape is the byte that s, which follows a backslash, begins with, and how long
// that is.
func escape(s string) (c byte, length int, ok bool) {
	if strings.HasPrefix(s, "x") && len(s) >= 3 {
		v, err := strconv.ParseUint(s[1:3], 16, 8)
		return byte(v), 3, err == nil
	}
	i := strings.IndexByte(`rnt0\`, append([]byte(s), ' ')[0])
	if s == "" || i < 0 {
		return 0, 0, false
	}
	return "\r\n\t\x00\\"[i], 1, true
}

// The types of probe that a short form may have a path of, and what the path is.
var shortPaths = map[model.ProbeType]string{
	model.ProbeHTTP: "path", model.ProbeHTTPS: "path", model.ProbeHTTP2: "path", model.ProbeGRPC: "grpc_service", model.ProbeDNS: "query",
}

var shortExp = regexp.MustCompile(`^([A-Z0-9-]+):([0-9]{1,6})(/.*)?$`)

// briefProbeKind is a probe's type alone, or TYPE:PORT/PATH as clouds write it.
var briefProbeKind = kind[rawProbe]{
	shape: shape{
		name: "type, `TYPE:PORT` or `TYPE:PORT/PATH`", limits: probeTypeKind.limits,
		json: map[string]any{"anyOf": []any{
			probeTypeKind.json,
			map[string]any{"type": "string", "pattern": "^(" + strings.Join(shortNames(), "|") + "):[0-9]{1,5}(/[!-~]*)?$"},
		}},
	},
	parse: func(r *reader, n ast.Node) (rawProbe, bool) {
		s, ok := text(n)
		if !ok || !strings.Contains(s, ":") && strings.ToLower(s) == s {
			t, ok := probeTypeKind.parse(r, n)
			return rawProbe{kind: optAt(r, n, t, ok)}, ok
		}
		p, problem := shortProbe(s, func(v string) opt[string] { return optAt(r, n, v, true) })
		if problem != nil {
			r.wrong(n, problem.message, problem.hint)
			return rawProbe{kind: optAt(r, n, model.ProbeType(""), false)}, false
		}
		p.kind.at, p.port.at = r.placeOf(n), r.placeOf(n)
		return p, true
	},
}

func optAt[V any](r *reader, n ast.Node, v V, ok bool) opt[V] {
	return opt[V]{given: true, ok: ok, key: r.keyAt, at: r.placeOf(n), v: v}
}

// shortNames are the types as the short form writes them: those that have a port.
func shortNames() []string {
	var names []string
	for _, t := range probeTypes {
		if t != model.ProbeNone && t != model.ProbeICMP {
			names = append(names, strings.ToUpper(string(t)))
		}
	}
	return names
}

// shortProbe parses TYPE:PORT and TYPE:PORT/PATH.
func shortProbe(s string, given func(string) opt[string]) (p rawProbe, _ *problem) {
	parts := shortExp.FindStringSubmatch(s)
	if parts == nil {
		return p, &problem{quote(s) + " is not a probe", shortHint(s)}
	}
	t := model.ProbeType(strings.ToLower(parts[1]))
	switch {
	case slices.Contains(shortNames(), parts[1]):
	case slices.Contains(probeTypes, t):
		return p, &problem{fmt.Sprintf("%s: a probe of type %s has no port", s, t), "write " + string(t)}
	default:
		return p, &problem{fmt.Sprintf("%s: there is no probe of type %s", s, parts[1]), "known: " + strings.Join(shortNames(), ", ")}
	}
	number, problem := port(parts[2], s)
	if problem != nil {
		return p, problem
	}
	p.kind, p.port = opt[model.ProbeType]{given: true, ok: true, v: t}, opt[uint16]{given: true, ok: true, v: number}
	if parts[3] == "" {
		return p, nil
	}
	return p, shortPath(&p, s, parts[3], given)
}

func shortPath(p *rawProbe, s, path string, given func(string) opt[string]) *problem {
	kind, into, value := pathKind, &p.check.path, path
	switch shortPaths[p.kind.v] {
	case "path":
	case "grpc_service":
		kind, into, value = grpcServiceKind, &p.check.grpcService, path[1:]
	case "query":
		kind, into, value = queryKind, &p.check.query, path[1:]
	default:
		return &problem{fmt.Sprintf("%s: a probe of type %s has no path", s, p.kind.v), "remove " + path}
	}
	if value == "" {
		return nil
	}
	if !kind.valid(value) {
		return &problem{fmt.Sprintf("%s: %s is not a valid %s", s, quote(value), kind.name), kind.limits}
	}
	*into = given(value)
	return nil
}

// shortHint is what somebody may have meant.
func shortHint(s string) string {
	head, rest, colon := strings.Cut(s, ":")
	low, capital := strings.ToLower(head), strings.ToUpper(head)
	switch {
	case !slices.Contains(probeTypes, model.ProbeType(low)):
	case !slices.Contains(shortNames(), capital):
		return "write " + low
	case !colon:
		return "write " + low + ", or " + capital + ":PORT"
	case shortExp.MatchString(capital + ":" + rest):
		return "write " + capital + ":" + rest
	}
	return "a type alone, for example tcp, or TYPE:PORT/PATH, for example HTTP:8080/health"
}

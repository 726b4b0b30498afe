package config

import (
	"encoding"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/xlb-io/xlb/internal/yamlguard"
	"github.com/xlb-io/xlb/pkg/model"
)

// shape describes a kind of value for the schema and for the reference.
type shape struct {
	// name and limits are words for the reference: "duration", "1s to 168h".
	name, limits string
	// json is the value's JSON Schema.
	json map[string]any
	// groups are the mappings that a value of this kind can hold.
	groups []*group
	// nullable: a key without a value counts as absent.
	nullable bool
}

// kind is a shape that can be parsed. parse sees no alias, anchor, tag or
// null; it reports what is wrong and returns false.
type kind[V any] struct {
	shape
	parse func(r *reader, n ast.Node) (V, bool)
}

// integer is a whole number in plain decimal digits: YAML readers do not agree
// on what 010 or 1_000 are.
func integer[V ~int | ~uint16](minimum, maximum V) kind[V] {
	limits := fmt.Sprintf("%d to %d", minimum, maximum)
	return kind[V]{
		shape: shape{
			name: "whole number", limits: limits,
			json: map[string]any{"type": "integer", "minimum": minimum, "maximum": maximum},
		},
		parse: func(r *reader, n ast.Node) (V, bool) {
			t := n.GetToken()
			switch {
			case !isScalar(n) || !decimal.MatchString(t.Value):
				r.wrong(n, fmt.Sprintf("must be a whole number from %s, not %s", limits, describe(n)), "plain decimal digits")
				return 0, false
			case yamlguard.Quoted(t):
				r.wrong(n, fmt.Sprintf("must be a whole number, not %s", describe(n)), "remove the quotes")
				return 0, false
			}
			v, err := strconv.ParseInt(t.Value, 10, 64)
			if err != nil || v < int64(minimum) || v > int64(maximum) {
				r.wrong(n, fmt.Sprintf("%s is out of range", t.Value), limits)
				return 0, false
			}
			return V(v), true
		},
	}
}

var decimal = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

const durationPattern = `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`

var durationExp = regexp.MustCompile(durationPattern)

// duration is a time like 500ms, 2s or 1h30m, a multiple of step.
func duration(minimum, maximum, step time.Duration) kind[time.Duration] {
	limits := fmt.Sprintf("%s to %s", model.DurationText(minimum), model.DurationText(maximum))
	if step == time.Second {
		limits += ", whole seconds"
	}
	return kind[time.Duration]{
		shape: shape{
			name: "duration", limits: limits,
			json: map[string]any{"type": "string", "pattern": durationPattern},
		},
		parse: func(r *reader, n ast.Node) (time.Duration, bool) {
			s, ok := text(n)
			if !ok && decimal.MatchString(n.GetToken().Value) {
				r.wrong(n, fmt.Sprintf("%s has no unit", n.GetToken().Value), fmt.Sprintf("for seconds write %ss", n.GetToken().Value))
				return 0, false
			}
			d, err := time.ParseDuration(s)
			switch {
			case !ok || err != nil || !durationExp.MatchString(s):
				r.wrong(n, fmt.Sprintf("must be a duration, not %s", describe(n)), "for example 500ms, 2s, 15m or 1h30m")
			case d < minimum || d > maximum:
				r.wrong(n, fmt.Sprintf("%s is out of range", s), limits)
			case d%step != 0:
				r.wrong(n, fmt.Sprintf("%s is finer than its resolution of %s", s, model.DurationText(step)), "")
			default:
				return d, true
			}
			return 0, false
		},
	}
}

// enum is one of the given values, each called by its text.
func enum[V any](values ...V) kind[V] {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = show(v)
	}
	return kind[V]{
		shape: shape{
			name: "one of", limits: "`" + strings.Join(names, "`, `") + "`",
			json: map[string]any{"enum": names},
		},
		parse: func(r *reader, n ast.Node) (V, bool) {
			s, ok := text(n)
			if i := slices.Index(names, s); ok && i >= 0 {
				return values[i], true
			}
			hint := "known: " + strings.Join(names, ", ")
			if near, ok := nearest(s, names); ok {
				hint = fmt.Sprintf("did you mean %q? %s", near, hint)
			}
			r.wrong(n, fmt.Sprintf("unknown value %s", describe(n)), hint)
			var zero V
			return zero, false
		},
	}
}

// show is the text of a value as it stands in the file.
func show(v any) string {
	switch v := v.(type) {
	case encoding.TextMarshaler:
		b, err := v.MarshalText()
		if err != nil {
			panic(err)
		}
		return string(b)
	case time.Duration:
		return model.DurationText(v)
	}
	return fmt.Sprint(v)
}

// textKind is a kind of text whose rule can be asked for keys as well.
type textKind struct {
	kind[string]
	valid func(string) bool
}

// str is a text of at most max bytes that matches pattern.
func str(name, pattern string, max int, limits string) textKind {
	exp := regexp.MustCompile(pattern)
	valid := func(s string) bool { return len(s) <= max && exp.MatchString(s) }
	return textKind{valid: valid, kind: kind[string]{
		shape: shape{
			name: name, limits: limits,
			json: map[string]any{"type": "string", "pattern": pattern, "maxLength": max},
		},
		parse: func(r *reader, n ast.Node) (string, bool) {
			s, ok := wantText(r, n, name)
			if ok && !valid(s) {
				r.wrong(n, fmt.Sprintf("%s is not a valid %s", quote(s), name), limits)
				ok = false
			}
			return s, ok
		},
	}}
}

var boolean = kind[bool]{
	shape: shape{name: "`true` or `false`", json: map[string]any{"type": "boolean"}},
	parse: func(r *reader, n ast.Node) (bool, bool) {
		b, ok := n.(*ast.BoolNode)
		if !ok {
			r.wrong(n, fmt.Sprintf("must be true or false, not %s", describe(n)), "")
			return false, false
		}
		return b.Value, true
	},
}

// listOf is a list of values, or one value alone. Wrong elements stay in the
// list, not ok, so that checks of the whole know that something is missing.
func listOf[V any](item kind[V]) kind[[]opt[V]] {
	return kind[[]opt[V]]{
		shape: shape{
			name: item.name + ", or a list of them", limits: item.limits, groups: item.groups, nullable: true,
			json: map[string]any{"anyOf": []any{item.json, map[string]any{"type": "array", "items": item.json}}},
		},
		parse: func(r *reader, n ast.Node) ([]opt[V], bool) {
			list, ok := n.(*ast.SequenceNode)
			if !ok {
				v, ok := item.parse(r, n)
				return []opt[V]{{given: true, ok: ok, at: r.placeOf(n), v: v}}, true
			}
			defer r.within()()
			r.keyAt = place{}
			all := make([]opt[V], 0, len(list.Values))
			for _, v := range list.Values {
				all = append(all, read(r, v, item))
			}
			return all, true
		},
	}
}

// text returns the value of a string. Numbers, booleans and the rest are none.
func text(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

func wantText(r *reader, n ast.Node, what string) (string, bool) {
	s, ok := text(n)
	if !ok {
		hint := ""
		if isScalar(n) {
			hint = fmt.Sprintf("if it is meant so, quote it: %q", n.GetToken().Value)
		}
		r.wrong(n, fmt.Sprintf("must be a text (%s), not %s", what, describe(n)), hint)
	}
	return s, ok
}

func isScalar(n ast.Node) bool {
	switch n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return true
	}
	return false
}

// describe says in words what n is.
func describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode:
		return quote(n.Value)
	case *ast.LiteralNode:
		return quote(n.Value.Value)
	}
	return n.GetToken().Value
}

// quote shortens s, which may be a whole certificate pasted by mistake.
func quote(s string) string {
	if runes := []rune(s); len(runes) > 80 {
		s = string(runes[:80]) + "…"
	}
	return strconv.Quote(s)
}

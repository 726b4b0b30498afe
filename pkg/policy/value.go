package policy

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// scalar is the text of a value that is no list and no mapping.
func (v value) scalar() (string, bool) {
	switch n := v.node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	v.wrong("must be one value")
	return "", false
}

// text is a text of at most most bytes.
func (v value) text(most int) string {
	s, _ := v.scalar()
	if len(s) > most {
		v.wrong(fmt.Sprintf("%d bytes, at most %d", len(s), most))
	}
	return strings.TrimRight(s, "\n")
}

func (v value) matching(valid *regexp.Regexp, rule string) string {
	s, ok := v.scalar()
	if ok && !valid.MatchString(s) {
		v.wrong(fmt.Sprintf("%q is not %s", printable(s, 64), rule))
	}
	return s
}

func (v value) oneOf(names ...string) string {
	s, ok := v.scalar()
	if ok && !slices.Contains(names, s) {
		v.wrong(fmt.Sprintf("unknown %q (known: %s)", printable(s, 64), strings.Join(names, ", ")))
	}
	return s
}

func (v value) number(least, most uint64) uint64 {
	s, ok := v.scalar()
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(strings.ReplaceAll(s, "_", ""), 10, 64)
	if err != nil || n < least || n > most {
		rule := fmt.Sprintf("a number from %d to %d", least, most)
		if least == most {
			rule = strconv.FormatUint(least, 10)
		}
		v.wrong(fmt.Sprintf("%q is not %s", printable(s, 64), rule))
		return 0
	}
	return n
}

// names is a list of different names.
func (v value) names() []string {
	list := []string{}
	for _, item := range v.items(maxNames) {
		s := item.matching(validName, nameRule)
		if slices.Contains(list, s) {
			item.wrong(s + " is there twice")
		}
		list = append(list, s)
	}
	return list
}

// size is a size of memory like 1MiB, in whole pages.
func (v value) size() int {
	s, ok := v.scalar()
	if !ok {
		return 0
	}
	digits, unit := strings.TrimRight(s, "KMGiB "), 1
	switch strings.TrimSpace(s[len(digits):]) {
	case "", "B":
	case "KiB":
		unit = 1 << 10
	case "MiB":
		unit = 1 << 20
	case "GiB":
		unit = 1 << 30
	default:
		digits = ""
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || n > maxMemory/unit || n*unit%page != 0 {
		v.wrong(fmt.Sprintf("%q is no size from 64KiB to 1GiB in steps of 64KiB, like 1MiB", printable(s, 64)))
		return 0
	}
	return n * unit
}

// json is the value as JSON.
func (v value) json() json.RawMessage {
	b, err := json.Marshal(v.plain())
	if err != nil {
		v.wrong(err.Error())
		return nil
	}
	return b
}

// plain is the value in the types of package json. Keys are texts, whatever they
// look like.
func (v value) plain() any {
	switch n := v.node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		m := map[string]any{}
		for _, e := range v.entries(math.MaxInt) {
			m[e.name] = e.value.plain()
		}
		return m
	case *ast.SequenceNode:
		list := []any{}
		for _, item := range v.items(math.MaxInt) {
			list = append(list, item.plain())
		}
		return list
	case *ast.NullNode:
		return nil
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode:
		return n.Value
	case *ast.FloatNode:
		return n.Value
	}
	s, _ := v.scalar()
	return s
}

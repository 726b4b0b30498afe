package policy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"github.com/xlb-io/xlb/internal/yamlguard"
)

// manifestReader collects mistakes of a manifest.
type manifestReader struct {
	file     string
	mistakes []mistake
}

type mistake struct {
	line, column int
	text         string
}

// value is a node of the file; key is what it belongs to.
type value struct {
	r    *manifestReader
	node ast.Node
	key  string
}

func (r *manifestReader) fail(at *token.Token, text string) {
	m := mistake{line: 1, column: 1, text: text}
	if at != nil && at.Position != nil {
		m.line, m.column = max(at.Position.Line, 1), max(at.Position.Column, 1)
	}
	r.mistakes = append(r.mistakes, m)
}

func (r *manifestReader) err() error {
	slices.SortStableFunc(r.mistakes, func(a, b mistake) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	var all []error
	for _, m := range r.mistakes {
		all = append(all, fmt.Errorf("%s:%d:%d: %s", r.file, m.line, m.column, m.text))
	}
	return errors.Join(all...)
}

// root parses the file, which must be one mapping.
func (r *manifestReader) root(data []byte) (value, bool) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		r.fail(nil, "the file is not valid UTF-8")
		return value{}, false
	}
	tokens := lexer.Tokenize(string(data))
	if at := yamlguard.TooDeep(tokens); at != nil {
		r.fail(at, fmt.Sprintf("nested more than %d levels deep", yamlguard.MaxNesting))
		return value{}, false
	}
	file, err := yamlguard.Parse(tokens)
	if err != nil {
		r.syntax(err)
		return value{}, false
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		r.fail(nil, "a manifest is one document with a mapping")
		return value{}, false
	}
	return value{r: r, node: file.Docs[0].Body}, true
}

func (r *manifestReader) syntax(err error) {
	located, ok := errors.AsType[yaml.Error](err)
	if !ok {
		r.fail(nil, err.Error())
		return
	}
	r.fail(located.GetToken(), located.GetMessage())
}

// wrong reports a mistake in v.
func (v value) wrong(text string) {
	if v.key != "" {
		text = v.key + ": " + text
	}
	v.r.fail(yamlguard.Start(v.node), text)
}

// isMapping says whether v is a mapping of keys to values; if not, that is a mistake.
func (v value) isMapping() bool {
	switch v.node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return true
	}
	v.wrong("must be a mapping of keys to values")
	return false
}

func (r *manifestReader) require(v value, key string, there bool) {
	// A key whose value is wrong is told of already.
	if !there && !slices.ContainsFunc(v.entries(math.MaxInt), func(e entry) bool { return e.name == key }) {
		v.wrong(key + " is missing")
	}
}

// entry is a key of a mapping with its value.
type entry struct {
	name       string
	key, value value
}

// entries returns those of a mapping, at most most.
func (v value) entries(most int) []entry {
	var nodes []*ast.MappingValueNode
	switch n := v.node.(type) {
	case *ast.MappingNode:
		nodes = n.Values
	case *ast.MappingValueNode:
		nodes = []*ast.MappingValueNode{n}
	default:
		v.wrong("must be a mapping of keys to values")
		return nil
	}
	if len(nodes) > most {
		v.wrong(fmt.Sprintf("%d entries, at most %d", len(nodes), most))
		return nil
	}
	list := make([]entry, len(nodes))
	for i, n := range nodes {
		name := keyText(n.Key)
		list[i] = entry{name: name, key: value{v.r, n.Key, v.key}, value: value{v.r, n.Value, name}}
	}
	return list
}

func keyText(k ast.Node) string {
	switch k := k.(type) {
	case *ast.MappingKeyNode:
		if k.Value != nil {
			return keyText(k.Value)
		}
	case *ast.StringNode:
		return k.Value
	}
	return k.GetToken().Value
}

// readObject reads a mapping with known keys.
func readObject[T any](v value, into *T, keys map[string]func(*T, value)) {
	for _, e := range v.entries(math.MaxInt) {
		read, ok := keys[e.name]
		if !ok {
			e.key.wrong(fmt.Sprintf("unknown key %q (known: %s)", printable(e.name, 64), strings.Join(slices.Sorted(maps.Keys(keys)), ", ")))
			continue
		}
		if _, null := e.value.node.(*ast.NullNode); null {
			e.key.wrong(e.name + " has no value")
			continue
		}
		read(into, e.value)
	}
}

func (v value) items(most int) []value {
	n, ok := v.node.(*ast.SequenceNode)
	if !ok {
		v.wrong("must be a list")
		return nil
	}
	if len(n.Values) > most {
		v.wrong(fmt.Sprintf("%d items, at most %d", len(n.Values), most))
		return nil
	}
	list := make([]value, len(n.Values))
	for i, item := range n.Values {
		list[i] = value{v.r, item, v.key}
	}
	return list
}

package discovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/xlb-io/xlb/internal/yamlguard"
)

// yamlItems returns the elements of a document in YAML, plain data: no anchors,
// aliases and tags.
func yamlItems(data []byte) ([]item, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		return nil, errors.New("not valid UTF-8")
	}
	tokens := yamlguard.Tokenize(string(data))
	if at := yamlguard.TooDeep(tokens); at != nil {
		return nil, wrongYAML(at, "nested more than %d levels deep", yamlguard.MaxNesting)
	}
	file, err := yamlguard.Parse(tokens)
	if err != nil {
		if located, ok := errors.AsType[yaml.Error](err); ok {
			return nil, wrongYAML(located.GetToken(), "not YAML: %s", located.GetMessage())
		}
		return nil, err
	}
	var root ast.Node
	for _, d := range file.Docs {
		switch {
		case d.Body == nil:
		case root != nil:
			return nil, wrongYAML(yamlguard.Start(d.Body), "a second document in the file")
		default:
			root = d.Body
		}
	}
	if root == nil {
		return nil, errors.New("empty; a document without backends is []")
	}
	if list, ok := root.(*ast.SequenceNode); ok {
		return yamlList(list)
	}
	entries, ok := mapping(root)
	if !ok || len(entries) != 1 || entries[0].Key.GetToken().Value != "backends" {
		return nil, wrongYAML(yamlguard.Start(root), wrongDocument)
	}
	list, ok := entries[0].Value.(*ast.SequenceNode)
	if !ok {
		return nil, wrongYAML(yamlguard.Start(entries[0].Key), "backends must be a list")
	}
	return yamlList(list)
}

func yamlList(list *ast.SequenceNode) ([]item, error) {
	items := make([]item, 0, len(list.Values))
	for _, n := range list.Values {
		v, err := plainData(n)
		if err != nil {
			return nil, err
		}
		items = append(items, item{lineOf(yamlguard.Start(n)), v})
	}
	return items, nil
}

func mapping(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

var decimal = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

// plainData turns a node into what encoding/json would make of it. Numbers are
// plain decimal digits: YAML readers do not agree on what 010 is.
func plainData(n ast.Node) (any, error) {
	if entries, ok := mapping(n); ok {
		m := make(map[string]any, len(entries))
		for _, e := range entries {
			v, err := plainData(e.Value)
			if err != nil {
				return nil, err
			}
			m[e.Key.GetToken().Value] = v
		}
		return m, nil
	}
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.BoolNode:
		return n.Value, nil
	case *ast.NullNode:
		return nil, nil
	case *ast.SequenceNode:
		list := make([]any, 0, len(n.Values))
		for _, one := range n.Values {
			v, err := plainData(one)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case *ast.IntegerNode:
		if decimal.MatchString(n.GetToken().Value) {
			return json.Number(n.GetToken().Value), nil
		}
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		return nil, wrongYAML(yamlguard.Start(n), "anchors, aliases and tags are not supported here")
	}
	return nil, wrongYAML(yamlguard.Start(n), "%s is neither text nor a plain decimal number (quote it if it is meant as text)", n.GetToken().Value)
}

func lineOf(t *token.Token) int {
	if t == nil || t.Position == nil {
		return 1
	}
	return max(t.Position.Line, 1)
}

func wrongYAML(at *token.Token, format string, args ...any) error {
	return &lineError{lineOf(at), fmt.Sprintf(format, args...)}
}

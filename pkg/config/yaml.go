package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/xlb-io/xlb/internal/yamlguard"
)

// document parses data and returns the root node of its only document, with
// anchors and aliases noted in r.
func (r *reader) document(data []byte) (ast.Node, bool) {
	start := place{line: 1, column: 1}
	if len(data) > maxFileSize {
		r.fail(start, "the file is larger than 16 MiB", "is this the right file?")
		return nil, false
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		r.fail(invalidUTF8(data), "the file is not valid UTF-8", "save it as UTF-8")
		return nil, false
	}
	tokens := yamlguard.Tokenize(string(data))
	if at := yamlguard.TooDeep(tokens); at != nil {
		r.fail(tokenPlace(at), fmt.Sprintf("nested more than %d levels deep", yamlguard.MaxNesting), "")
		return nil, false
	}
	file, err := yamlguard.Parse(tokens, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return nil, false
	}
	var root ast.Node
	for _, doc := range file.Docs {
		if _, directive := doc.Body.(*ast.DirectiveNode); directive || doc.Body == nil {
			continue
		}
		if root != nil {
			r.fail(startOf(doc.Body), "a second document in the file", `a configuration is one document; remove the "---" before it`)
			return nil, false
		}
		root = doc.Body
	}
	if root == nil {
		if r.fragment {
			r.fail(start, "the text is empty", "give at least frontends and backends")
		} else {
			r.fail(start, "the file is empty", `give at least "interfaces: eth0"`)
		}
		return nil, false
	}
	r.aliases = map[*ast.AliasNode]ast.Node{}
	r.bind(root, map[string]ast.Node{})
	return root, true
}

func (r *reader) syntax(err error) {
	at, message := place{line: 1, column: 1}, ""
	var located yaml.Error
	if !errors.As(err, &located) {
		message = err.Error()
	} else {
		// Its Error quotes the source, which takes long for a long line.
		message = located.GetMessage()
		if t := located.GetToken(); t != nil {
			at = tokenPlace(t)
		}
	}
	hint := ""
	switch {
	case strings.Contains(message, "must be specified"):
		hint = `inside [ ] and { }, quote a value that holds a bracket or a comma: "tcp://[2001:db8::1]:80"`
	case strings.Contains(message, "cannot start any token"):
		hint = "indent with spaces, not tabs, and quote values that start with a special character"
	case strings.Contains(message, "mapping value is not allowed"):
		hint = `check the indentation, and quote a value that holds ": "`
	case strings.Contains(message, "not found"):
		hint = "close every bracket and quote"
	}
	r.fail(at, message, hint)
}

// bind notes which node each alias stands for. An anchor counts after its own
// end, so no alias can contain itself.
func (r *reader) bind(n ast.Node, anchors map[string]ast.Node) {
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			r.bind(v, anchors)
		}
	case *ast.MappingValueNode:
		r.bind(n.Key, anchors)
		r.bind(n.Value, anchors)
	case *ast.MappingKeyNode:
		r.bind(n.Value, anchors)
	case *ast.SequenceNode:
		for _, v := range n.Values {
			r.bind(v, anchors)
		}
	case *ast.TagNode:
		r.bind(n.Value, anchors)
	case *ast.AnchorNode:
		r.bind(n.Value, anchors)
		anchors[n.Name.GetToken().Value] = n.Value
	case *ast.AliasNode:
		if target, ok := anchors[n.Value.GetToken().Value]; ok {
			r.aliases[n] = target
		}
	}
}

// startOf is where a person would say that n starts.
func startOf(n ast.Node) place { return tokenPlace(yamlguard.Start(n)) }

func tokenPlace(t *token.Token) place {
	return place{line: int32(max(t.Position.Line, 1)), column: int32(max(t.Position.Column, 1))}
}

func invalidUTF8(data []byte) place {
	at := place{line: 1, column: 1}
	for len(data) > 0 {
		c, size := utf8.DecodeRune(data)
		if c == utf8.RuneError && size == 1 {
			break
		}
		at.column++
		if c == '\n' {
			at = place{line: at.line + 1, column: 1}
		}
		data = data[size:]
	}
	return at
}

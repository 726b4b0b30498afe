// Package yamlguard parses YAML that somebody else wrote. The parser recurses, and Go
// cannot recover from an exhausted stack; and it has panics on malformed input.
package yamlguard

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// MaxNesting is several times what the deepest valid file has.
const MaxNesting = 64

// TooDeep returns where nesting passes [MaxNesting], nil if it does not: nesting of
// brackets, and of "- - -" or "? ? ?" on one line. Nesting by indentation needs ever
// longer lines, so the size of the file bounds it.
func TooDeep(tokens token.Tokens) *token.Token {
	var brackets, dashes, line int
	for _, t := range tokens {
		if t.Position.Line != line {
			line, dashes = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType, token.MappingValueType:
			dashes++
		case token.CollectEntryType:
			dashes = 0
		}
		if brackets > MaxNesting || dashes > MaxNesting {
			return t
		}
	}
	return nil
}

// Parse turns a panic of the parser into an error.
func Parse(tokens token.Tokens, options ...parser.Option) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the file cannot be parsed as YAML: %v", p)
		}
	}()
	return parser.Parse(tokens, 0, options...)
}

// Start is the token that a person would say n begins with: the syntax tree puts
// mappings at their first colon. nil has none.
func Start(n ast.Node) *token.Token {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return Start(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return Start(n.Key)
	case *ast.MappingKeyNode:
		if n.Value != nil {
			return Start(n.Value)
		}
	case nil:
		return nil
	}
	return n.GetToken()
}

package policytest

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"github.com/xlb-io/xlb/internal/yamlguard"
)

// maxFile bounds what is read.
const maxFile = 4 << 20

// Error is a mistake in a file.
type Error struct {
	File string
	// Line and Column count from 1.
	Line, Column int
	Message      string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// decode reads the only document of data. Keys that into does not have are
// mistakes.
func decode(name string, data []byte, into any) error {
	root, err := document(data)
	if err == nil {
		err = yaml.NodeToValue(root, into, yaml.Strict())
	}
	if err != nil {
		return located(name, err)
	}
	return nil
}

func document(data []byte) (ast.Node, error) {
	switch {
	case len(data) > maxFile:
		return nil, fmt.Errorf("the file is larger than %d MiB", maxFile>>20)
	case !utf8.Valid(data):
		return nil, errors.New("the file is not valid UTF-8")
	}
	tokens := lexer.Tokenize(string(bytes.TrimPrefix(data, []byte("\ufeff"))))
	if err := refuse(tokens); err != nil {
		return nil, err
	}
	file, err := yamlguard.Parse(tokens)
	if err != nil {
		return nil, err
	}
	bodies := slices.DeleteFunc(file.Docs, func(d *ast.DocumentNode) bool { return d.Body == nil })
	switch len(bodies) {
	case 0:
		return nil, errors.New("the file is empty")
	case 1:
		empty := nulls{}
		ast.Walk(&empty, bodies[0].Body)
		return bodies[0].Body, empty.first
	}
	return nil, wrong(bodies[1].Body, "a second document in the file (remove the \"---\" before it)")
}

// refuse finds what nobody needs here and what could make a small file a large
// one.
func refuse(tokens token.Tokens) error {
	depth, dashes, line := 0, 0, 0
	for i, t := range tokens {
		if t.Position.Line != line {
			line, dashes = t.Position.Line, 0
		}
		switch t.Type {
		case token.AnchorType, token.AliasType, token.TagType, token.MergeKeyType:
			return &mistake{t, "anchors, aliases and tags are not read here (write the value out)"}
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType:
			dashes++
			if depth > 0 && i > 0 && i < len(tokens)-1 && splits(tokens[i-1], t, tokens[i+1]) {
				return &mistake{tokens[i-1], "inside [ ] and { }, quote a text that holds a colon (\"192.0.2.7:4242\")"}
			}
		case token.CollectEntryType:
			dashes = 0
		}
		if depth > yamlguard.MaxNesting || dashes > yamlguard.MaxNesting {
			return &mistake{t, fmt.Sprintf("nested more than %d levels deep", yamlguard.MaxNesting)}
		}
	}
	return nil
}

// nulls finds a key or an element without a value. Only a configuration may hold
// null.
type nulls struct{ first error }

var inConfig = regexp.MustCompile(`^\$\[\d+\]\.(config|validate)\.`)

// Visit implements [ast.Visitor].
func (v *nulls) Visit(n ast.Node) ast.Visitor {
	if _, null := n.(*ast.NullNode); null && v.first == nil && !inConfig.MatchString(n.GetPath()) {
		v.first = wrong(n, "a value is missing")
	}
	return v
}

// splits says whether a colon stands between two plain words without a space.
// YAML reads them as one text, the parser as a key and a value.
func splits(before, colon, after *token.Token) bool {
	quoted := before.Type == token.SingleQuoteType || before.Type == token.DoubleQuoteType
	return colon.Type == token.MappingValueType && !quoted &&
		colon.Position.Line == after.Position.Line && colon.Position.Column+1 == after.Position.Column
}

// mistake is what is wrong, at a place.
type mistake struct {
	at      *token.Token
	message string
}

func (m *mistake) Error() string { return m.message }

func wrong(n ast.Node, format string, args ...any) error {
	return &mistake{start(n), fmt.Sprintf(format, args...)}
}

// start is where a person would say that n starts: the syntax tree puts a
// mapping at its first colon.
func start(n ast.Node) *token.Token {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return start(n.Values[0])
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return n.GetToken()
}

// located makes any error one with file, line and column.
func located(name string, err error) error {
	e := &Error{File: name, Line: 1, Column: 1, Message: err.Error()}
	at := (*token.Token)(nil)
	var (
		own      *mistake
		kind     *yaml.TypeError
		node     *yaml.UnexpectedNodeTypeError
		overflow *yaml.OverflowError
		other    yaml.Error
	)
	switch {
	case errors.As(err, &own):
		at, e.Message = own.at, own.message
	case errors.As(err, &kind):
		at, e.Message = kind.Token, fmt.Sprintf("want %s, not %q", wanted(kind.DstType), kind.Token.Value)
	case errors.As(err, &node):
		at, e.Message = node.Token, strings.ToLower(fmt.Sprintf("want a %s, not a %s", node.Expected, node.Actual))
	case errors.As(err, &overflow):
		at, e.Message = overflow.Token, fmt.Sprintf("%s is out of range", overflow.SrcNum)
	case errors.As(err, &other):
		at, e.Message = other.GetToken(), strings.Join(strings.Fields(other.GetMessage()), " ")
	}
	if at != nil && at.Position != nil {
		e.Line, e.Column = max(at.Position.Line, 1), max(at.Position.Column, 1)
	}
	return e
}

// wanted is a word for what is read into a t.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "a mapping"
	case reflect.String:
		return "a text"
	case reflect.Pointer:
		return wanted(t.Elem())
	}
	return "a whole number"
}

// scalar is the text of a value as it was written.
func scalar(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil
	}
	return "", wrong(n, "want a text or a number")
}

// text is a value that a T reads from its text.
type text[T any, P interface {
	*T
	encoding.TextUnmarshaler
}] struct{ v T }

// UnmarshalYAML implements [yaml.NodeUnmarshaler].
func (x *text[T, P]) UnmarshalYAML(n ast.Node) error {
	s, err := scalar(n)
	if err != nil {
		return err
	}
	if err := P(&x.v).UnmarshalText([]byte(s)); err != nil {
		return wrong(n, "%v", err)
	}
	return nil
}

// document of JSON that stands in the file as YAML.
type jsonValue struct{ raw json.RawMessage }

// UnmarshalYAML implements [yaml.NodeUnmarshaler].
func (j *jsonValue) UnmarshalYAML(n ast.Node) error {
	var v any
	if err := yaml.NodeToValue(n, &v); err != nil {
		return err
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return wrong(n, "this cannot be written as JSON: %v", err)
	}
	j.raw = raw
	return nil
}

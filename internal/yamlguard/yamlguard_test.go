package yamlguard

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
)

func TestTooDeep(t *testing.T) {
	for text, deep := range map[string]bool{
		"a: [[1], {b: [2]}]\n":                               false,
		strings.Repeat("[", MaxNesting):                      false,
		strings.Repeat("[", MaxNesting+1):                    true,
		strings.Repeat("- ", MaxNesting+1) + "1\n":           true,
		strings.Repeat("- 1\n", 10*MaxNesting):               false,
		"a: " + strings.Repeat("[1],", 10*MaxNesting) + "\n": false,
	} {
		if got := TooDeep(lexer.Tokenize(text)) != nil; got != deep {
			t.Errorf("%.20q…: too deep %v, want %v", text, got, deep)
		}
	}
}

func TestStart(t *testing.T) {
	file, err := Parse(lexer.Tokenize("# comment\nfirst:\n  second: 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	root := file.Docs[0].Body
	if at := Start(root); at.Position.Line != 2 || at.Position.Column != 1 {
		t.Errorf("the mapping begins at %v", at.Position)
	}
	inner := root.(*ast.MappingNode).Values[0].Value
	if at := Start(inner); at.Position.Line != 3 || at.Position.Column != 3 {
		t.Errorf("the inner mapping begins at %v", at.Position)
	}
	if Start(nil) != nil {
		t.Error("nothing has a beginning")
	}
}

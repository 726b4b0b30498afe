package yamlguard

import (
	"slices"
	"unicode/utf8"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// Tokenize takes text apart.
func Tokenize(text string) token.Tokens { return joinColons(lexer.Tokenize(text)) }

// joinColons joins plain scalars that the scanner takes apart. In YAML 1.2
// (§7.3.3) a colon ends a plain scalar only before a space or a bracket, so
// {backends: [10.0.0.1:80]} is a list of one text. Scanner v1.19 sees a key
// and a value as soon as a { encloses the list.
func joinColons(tokens token.Tokens) token.Tokens {
	var joined token.Tokens
	var open []token.Type
	start := 0
	for i, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			open = append(open, t.Type)
		case token.SequenceEndType, token.MappingEndType:
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
		case token.MappingValueType:
			inList := len(open) > 0 && open[len(open)-1] == token.SequenceStartType
			if !inList || i == len(tokens)-1 || i < start || !adjoin(t, tokens[i+1]) || !plain(tokens[i+1]) {
				continue
			}
			if i > start && Quoted(tokens[i-1]) {
				continue // a key like in JSON: ["a":1]
			}
			first, text := i, t.Value+tokens[i+1].Value
			if i > start && plain(tokens[i-1]) && adjoin(tokens[i-1], t) {
				first, text = i-1, tokens[i-1].Value+text
			}
			joined = append(joined, tokens[start:first]...)
			joined = append(joined, token.String(text, text, tokens[first].Position))
			start = i + 2
		}
	}
	if start == 0 {
		return tokens
	}
	var linked token.Tokens
	linked.Add(slices.Concat(joined, tokens[start:])...)
	return linked
}

// plain reports whether t is a scalar without quotes.
func plain(t *token.Token) bool {
	switch t.Type {
	case token.StringType, token.IntegerType, token.BinaryIntegerType, token.OctetIntegerType, token.HexIntegerType,
		token.FloatType, token.BoolType, token.NullType, token.InfinityType, token.NanType:
		return true
	}
	return false
}

// Quoted says whether t is a scalar in quotes.
func Quoted(t *token.Token) bool {
	return t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType
}

// adjoin reports whether b starts where a ends.
func adjoin(a, b *token.Token) bool {
	return a.Position.Line == b.Position.Line && a.Position.Column+utf8.RuneCountInString(a.Value) == b.Position.Column
}

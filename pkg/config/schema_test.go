package config

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

var parsedSchema = sync.OnceValues(func() (map[string]any, error) {
	b, err := Schema()
	if err != nil {
		return nil, err
	}
	var s map[string]any
	return s, json.Unmarshal(b, &s)
})

// checkSchema checks that the schema allows a file that the parser accepts.
func checkSchema(t *testing.T, data []byte) {
	t.Helper()
	schema, err := parsedSchema()
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{file: "x.yaml", budget: maxNodes}
	root, ok := r.document(data)
	if !ok {
		t.Fatal(r.errs)
	}
	if err := conform(schema, schema, plainValue(t, r, root)); err != nil {
		t.Errorf("accepted, but the schema refuses it: %v\n%s", err, data)
	}
}

// plainValue is what a JSON Schema validator gets to see of n.
func plainValue(t *testing.T, r *reader, n ast.Node) any {
	n, ok := r.open(n)
	if !ok {
		t.Fatal(r.errs)
	}
	if entries, ok := r.entries(n); ok {
		m := map[string]any{}
		for _, e := range entries {
			m[e.key] = plainValue(t, r, e.value)
		}
		return m
	}
	switch n := n.(type) {
	case *ast.SequenceNode:
		list := []any{}
		for _, v := range n.Values {
			list = append(list, plainValue(t, r, v))
		}
		return list
	case ast.ScalarNode:
		return n.GetValue()
	}
	t.Fatalf("%T is no value", n)
	return nil
}

// conform says why v is not valid under schema. It knows the keywords that
// Schema uses and refuses others.
func conform(root, schema map[string]any, v any) error {
	for keyword, arg := range schema {
		var err error
		switch keyword {
		case "$schema", "$defs", "title", "description", "default":
		case "$ref":
			name := strings.TrimPrefix(arg.(string), "#/$defs/")
			def, ok := root["$defs"].(map[string]any)[name].(map[string]any)
			if !ok {
				return fmt.Errorf("dangling reference %v", arg)
			}
			err = conform(root, def, v)
		case "anyOf":
			var all []string
			fits := false
			for _, one := range arg.([]any) {
				e := conform(root, one.(map[string]any), v)
				if fits = e == nil; fits {
					break
				}
				all = append(all, e.Error())
			}
			if !fits {
				err = fmt.Errorf("none of: %s", strings.Join(all, "; "))
			}
		case "type":
			if got := jsonType(v); got != arg && !(arg == "number" && got == "integer") {
				err = fmt.Errorf("%v is %s, not %v", v, got, arg)
			}
		case "enum":
			if !slices.Contains(arg.([]any), v) {
				err = fmt.Errorf("%v is none of %v", v, arg)
			}
		case "pattern":
			if s, ok := v.(string); ok && !regexp.MustCompile(arg.(string)).MatchString(s) {
				err = fmt.Errorf("%q does not match %v", s, arg)
			}
		case "maxLength":
			if s, ok := v.(string); ok && float64(utf8.RuneCountInString(s)) > arg.(float64) {
				err = fmt.Errorf("%q is too long", s)
			}
		case "minimum":
			if n, ok := number(v); ok && n < arg.(float64) {
				err = fmt.Errorf("%v is below %v", v, arg)
			}
		case "maximum":
			if n, ok := number(v); ok && n > arg.(float64) {
				err = fmt.Errorf("%v is above %v", v, arg)
			}
		case "items":
			list, _ := v.([]any)
			for i, item := range list {
				if e := conform(root, arg.(map[string]any), item); e != nil {
					err = fmt.Errorf("[%d]: %w", i, e)
				}
			}
		case "required":
			if m, ok := v.(map[string]any); ok {
				for _, k := range arg.([]any) {
					if _, ok := m[k.(string)]; !ok {
						err = fmt.Errorf("%v is missing", k)
					}
				}
			}
		case "properties", "additionalProperties", "propertyNames":
			if m, ok := v.(map[string]any); ok {
				err = conformKeys(root, schema, keyword, m)
			}
		default:
			err = fmt.Errorf("unknown keyword %s", keyword)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func conformKeys(root, schema map[string]any, keyword string, m map[string]any) error {
	properties, _ := schema["properties"].(map[string]any)
	for k, v := range m {
		known, listed := properties[k].(map[string]any)
		var err error
		switch rest, isSchema := schema["additionalProperties"].(map[string]any); {
		case keyword == "propertyNames":
			err = conform(root, schema["propertyNames"].(map[string]any), k)
		case keyword == "properties" && listed:
			err = conform(root, known, v)
		case keyword == "additionalProperties" && !listed && isSchema:
			err = conform(root, rest, v)
		case keyword == "additionalProperties" && !listed && schema["additionalProperties"] == false:
			err = fmt.Errorf("unknown key")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
	}
	return nil
}

func jsonType(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case bool:
		return "boolean"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	case float64, float32:
		return "number"
	}
	return "integer"
}

func number(v any) (float64, bool) {
	r := reflect.ValueOf(v)
	switch {
	case r.IsValid() && r.CanInt():
		return float64(r.Int()), true
	case r.IsValid() && r.CanUint():
		return float64(r.Uint()), true
	}
	return 0, false
}

func TestSchemaAcceptsExample(t *testing.T) {
	data, err := os.ReadFile("../../examples/xlb.yaml")
	if err != nil {
		t.Fatal(err)
	}
	checkSchema(t, data)
}

// TestSchemaRefuses makes sure that conform and the schema can refuse.
func TestSchemaRefuses(t *testing.T) {
	schema, err := parsedSchema()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"attach: tc", "interfaces: 5", "interfaces: eth0\nfoo: 1", "interfaces: eth0\ntable_size: 2", "interfaces: eth0\nattach: x",
		"interfaces: eth0\nservices: {A: {frontends: tcp://1.2.3.4:5, backends: []}}",
		"interfaces: eth0\nservices: {a: {frontends: 1.2.3.4:5, backends: []}}",
		"interfaces: eth0\nservices: {a: {frontends: tcp://1.2.3.4:5}}",
		"interfaces: eth0\nservices: {a: {frontends: tcp://1.2.3.4:5, backends: [{address: 1.2.3.4, weight: -1}]}}",
		"interfaces: eth0\nservices: {a: {frontends: tcp://1.2.3.4:5, backends: [{address: 1.2.3.4, wait: 1}]}}",
		"interfaces: eth0\ndefaults: {timeouts: {udp: 5}}", "interfaces: eth0\ndefaults: {probe: {status: [99]}}",
		"interfaces: eth0\ndefaults: {probe: ~}",
	} {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if conform(schema, schema, v) == nil {
			t.Errorf("the schema accepts %q", text)
		}
		refused(t, text)
	}
}

// TestSchemaHoldsEveryKey compares the schema with what the parser knows.
func TestSchemaHoldsEveryKey(t *testing.T) {
	schema, err := parsedSchema()
	if err != nil {
		t.Fatal(err)
	}
	if got := schema["$schema"]; got != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("$schema is %v", got)
	}
	for _, g := range groups() {
		object := schema
		if g != fileGroup() {
			object = schema["$defs"].(map[string]any)[g.name].(map[string]any)
		}
		properties := object["properties"].(map[string]any)
		if len(properties) != len(g.fields) {
			t.Errorf("%s: %d keys in the schema, %d declared", g.name, len(properties), len(g.fields))
		}
		for _, f := range g.fields {
			p, ok := properties[f.key].(map[string]any)
			if !ok {
				t.Errorf("%s: %s is not in the schema", g.name, f.key)
				continue
			}
			if def, ok := p["default"]; ok {
				if n, isFloat := def.(float64); isFloat {
					def = int(n)
				}
				if err := conform(schema, p, def); err != nil {
					t.Errorf("%s: the default of %s is wrong: %v", g.name, f.key, err)
				}
			}
		}
	}
}

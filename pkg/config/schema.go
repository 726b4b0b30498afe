package config

import (
	"encoding/json"
	"fmt"
)

// Schema returns the JSON Schema (draft 2020-12) of the configuration file,
// for editors. Every file that [Parse] accepts is valid under it; rules that
// join several keys are beyond it.
func Schema() ([]byte, error) {
	defs := map[string]any{}
	for _, g := range groups() {
		defs[g.name] = g.schema()
	}
	root := fileGroup().schema()
	delete(defs, fileGroup().name)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "xlb configuration"
	root["$defs"] = defs
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("cannot render the configuration schema: %w", err)
	}
	return append(b, '\n'), nil
}

func (g *group) schema() map[string]any {
	properties := map[string]any{}
	required := []string{}
	var either []any
	for _, f := range g.fields {
		value := f.shape.json
		if f.shape.nullable {
			value = map[string]any{"anyOf": []any{value, map[string]any{"type": "null"}}}
		}
		property := map[string]any{"description": fmt.Sprintf("%s\n\nExample: %s: %s", f.doc, f.key, f.example)}
		for k, v := range value {
			property[k] = v
		}
		switch f.def.(type) {
		case nil:
		case int, bool:
			property["default"] = f.def
		default:
			property["default"] = show(f.def)
		}
		properties[f.key] = property
		switch {
		case f.required && f.unless != "":
			either = append(either, map[string]any{"required": []string{f.key}}, map[string]any{"required": []string{f.unless}})
		case f.required:
			required = append(required, f.key)
		}
	}
	schema := map[string]any{
		"type": "object", "description": g.doc, "properties": properties, "additionalProperties": false,
	}
	if len(required) > 0 {
		schema["required"] = required
	}
	if either != nil {
		schema["anyOf"] = either
	}
	return schema
}

func fileGroup() *group { return fileKind.groups[0] }

// groups returns all mappings of the file, each before those inside it.
func groups() []*group {
	var all []*group
	seen := map[*group]bool{}
	var visit func(g *group)
	visit = func(g *group) {
		if seen[g] {
			return
		}
		seen[g] = true
		all = append(all, g)
		for _, f := range g.fields {
			for _, inner := range f.shape.groups {
				visit(inner)
			}
		}
	}
	visit(fileGroup())
	return all
}

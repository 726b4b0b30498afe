package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/xlb-io/xlb/pkg/maps"
)

// printDump prints a decoded map as a table whose columns are the fields of
// keys and values.
func (e *env) printDump(d maps.Dump) error {
	if len(d.Entries) == 0 {
		e.printf("map %s is empty\n", d.Map)
		return nil
	}
	t := &table{}
	index := map[string]int{}
	for _, entry := range d.Entries {
		fields, err := flatten("key", entry.Key)
		if err != nil {
			return err
		}
		values, err := flatten("value", entry.Value)
		if err != nil {
			return err
		}
		row := make([]cell, len(t.columns), len(t.columns)+len(fields)+len(values))
		for _, f := range append(fields, values...) {
			i, ok := index[f.name]
			if !ok {
				i = len(t.columns)
				index[f.name] = i
				t.columns = append(t.columns, column{name: strings.ToUpper(f.name), align: right, shrinks: true})
				row = append(row, cell{})
			}
			if !f.number {
				t.columns[i].align = left
			}
			row[i].text = printable(f.text)
		}
		t.rows = append(t.rows, row)
	}
	for i, row := range t.rows {
		for len(row) < len(t.columns) {
			row = append(row, cell{})
		}
		t.rows[i] = row
	}
	e.printTable(t, "")
	return nil
}

// field is a named scalar out of a JSON value.
type field struct {
	name, text string
	number     bool
}

// flatten takes a value apart by its JSON form, in the order of its fields;
// name is for a value that is one scalar.
func flatten(name string, v any) ([]field, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", name, err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return flattenNext(dec, "", name)
}

func flattenNext(dec *json.Decoder, prefix, name string) ([]field, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	at := name
	if prefix != "" {
		at = prefix
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '[' {
			return flattenArray(dec, at)
		}
		var out []field
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			path := fmt.Sprint(key)
			if prefix != "" {
				path = prefix + "." + path
			}
			inner, err := flattenNext(dec, path, name)
			if err != nil {
				return nil, err
			}
			out = append(out, inner...)
		}
		_, err := dec.Token()
		return out, err
	case json.Number:
		return []field{{at, v.String(), true}}, nil
	case bool:
		return []field{{at, map[bool]string{true: "yes", false: "no"}[v], false}}, nil
	case nil:
		return []field{{at, "", false}}, nil
	}
	return []field{{at, fmt.Sprint(token), false}}, nil
}

// flattenArray writes a short list in full. Of a long one (a lookup table has
// tens of thousands of slots) it says how often each value occurs.
func flattenArray(dec *json.Decoder, at string) ([]field, error) {
	var list []string
	for dec.More() {
		var v any
		if err := dec.Decode(&v); err != nil {
			return nil, err
		}
		list = append(list, fmt.Sprint(v))
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	const long = 16
	if len(list) <= long {
		return []field{{at, strings.Join(list, " "), false}}, nil
	}
	var order []string
	counts := map[string]int{}
	for _, v := range list {
		if counts[v]++; counts[v] == 1 {
			order = append(order, v)
		}
	}
	sortNumbers(order)
	parts := make([]string, len(order))
	for i, v := range order {
		parts[i] = v + "×" + strconv.Itoa(counts[v])
	}
	return []field{{at, fmt.Sprintf("%d: %s", len(list), strings.Join(parts, " ")), false}}, nil
}

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
	var keys, values fieldColumns
	for _, entry := range d.Entries {
		if err := keys.add("key", entry.Key); err != nil {
			return err
		}
		if err := values.add("value", entry.Value); err != nil {
			return err
		}
	}
	t := &table{columns: append(keys.columns, values.columns...), rows: make([][]cell, len(d.Entries))}
	shortenNames(t.columns)
	for i := range t.rows {
		t.rows[i] = append(keys.row(i), values.row(i)...)
	}
	e.printTable(t, "")
	return nil
}

// fieldColumns collects rows whose fields may differ: a column appears with
// the first row that has it.
type fieldColumns struct {
	columns []column
	index   map[string]int
	rows    [][]cell
}

// add takes apart the value of the next row; name is for a value that is one scalar.
func (f *fieldColumns) add(name string, v any) error {
	fields, err := flatten(name, v)
	if err != nil {
		return err
	}
	if f.index == nil {
		f.index = map[string]int{}
	}
	row := make([]cell, len(f.columns))
	for _, field := range fields {
		at, ok := f.index[field.name]
		if !ok {
			at = len(f.columns)
			f.index[field.name] = at
			f.columns = append(f.columns, column{name: field.name, align: right, shrinks: true})
			row = append(row, cell{})
		}
		if !field.number {
			f.columns[at].align = left
		}
		row[at].text = printable(field.text)
	}
	f.rows = append(f.rows, row)
	return nil
}

// row returns row i with a cell for every column.
func (f *fieldColumns) row(i int) []cell {
	row := make([]cell, len(f.columns))
	copy(row, f.rows[i])
	return row
}

// shortenNames drops the path before a field's name where the name says enough.
func shortenNames(columns []column) {
	last := func(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }
	uses := map[string]int{}
	for _, c := range columns {
		uses[last(c.name)]++
	}
	for i, c := range columns {
		if short := last(c.name); uses[short] == 1 {
			columns[i].name = short
		}
		columns[i].name = strings.ToUpper(columns[i].name)
	}
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

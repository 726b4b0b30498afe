package config

import (
	"fmt"
	"maps"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// group describes a mapping with known keys.
type group struct {
	// name is the heading in the reference and the name in the schema.
	name, doc string
	fields    []fieldDoc
}

// fieldDoc describes a key.
type fieldDoc struct {
	key   string
	shape shape
	about
}

// about is what a person wants to know of a key.
type about struct {
	doc string
	// def is the default, nil if there is none; defDoc replaces it where the
	// default is no fixed value.
	def     any
	defDoc  string
	example string
	// required: the mapping is wrong without the key, or without that which
	// unless names.
	required bool
	unless   string
	// atStart: a change takes effect at the daemon's next start.
	atStart bool
}

// field is a key of a mapping that is read into a T.
type field[T any] struct {
	fieldDoc
	// read reads n, or takes note that the key is absent if n is nil.
	read func(r *reader, n ast.Node, into *T)
}

// of declares the key whose value of kind k is kept at(T).
func of[T, V any](key string, k kind[V], at func(*T) *opt[V], a about) field[T] {
	return field[T]{
		fieldDoc: fieldDoc{key: key, shape: k.shape, about: a},
		read:     func(r *reader, n ast.Node, into *T) { *at(into) = read(r, n, k) },
	}
}

// within makes fields of an inner mapping keys of the outer one.
func within[T, U any](inner func(*T) *U, fields ...field[U]) []field[T] {
	list := make([]field[T], len(fields))
	for i, f := range fields {
		list[i] = field[T]{
			fieldDoc: f.fieldDoc,
			read:     func(r *reader, n ast.Node, into *T) { f.read(r, n, inner(into)) },
		}
	}
	return list
}

// object is a mapping with the given keys.
func object[T any](name, doc string, fields ...field[T]) kind[T] {
	g := &group{name: name, doc: doc}
	byKey := make(map[string]field[T], len(fields))
	known := make([]string, len(fields))
	for i, f := range fields {
		g.fields = append(g.fields, f.fieldDoc)
		byKey[f.key] = f
		known[i] = f.key
	}
	return kind[T]{
		shape: shape{
			name: "mapping", groups: []*group{g}, nullable: true,
			json: map[string]any{"$ref": "#/$defs/" + name},
		},
		parse: func(r *reader, n ast.Node) (T, bool) {
			var v T
			entries, ok := r.entries(n)
			if !ok {
				r.wrong(n, fmt.Sprintf("must be a mapping of keys to values, not %s", describe(n)), "keys: "+strings.Join(known, ", "))
				return v, false
			}
			defer r.within()()
			present := make(map[string]bool, len(entries))
			for _, e := range entries {
				f, ok := byKey[e.key]
				if !ok {
					hint := "known: " + strings.Join(known, ", ")
					if near, ok := nearest(e.key, known); ok {
						hint = fmt.Sprintf("did you mean %q?", near)
					}
					r.fail(e.at, fmt.Sprintf("unknown key %s in %s", quote(e.key), name), hint)
					continue
				}
				r.enter(e)
				present[e.key] = true
				f.read(r, e.value, &v)
			}
			for _, f := range fields {
				if f.required && !present[f.key] && !present[f.unless] {
					r.fail(startOf(n), fmt.Sprintf("%s is missing in %s", f.key, name), fmt.Sprintf("for example %s: %s", f.key, f.example))
				}
			}
			return v, true
		},
	}
}

// named is a value with the key it has in a mapping of free keys.
type named[V any] struct {
	name string
	at   place
	v    opt[V]
}

// mapOf is a mapping of names, which must be valid for the kind key, to values.
func mapOf[V any](key textKind, item kind[V]) kind[[]named[V]] {
	return kind[[]named[V]]{
		shape: shape{
			name: "mapping of " + key.name + " to " + item.name, limits: "name: " + key.limits, groups: item.groups, nullable: true,
			json: map[string]any{
				"type": "object", "propertyNames": withoutType(key.json), "additionalProperties": item.json,
			},
		},
		parse: func(r *reader, n ast.Node) ([]named[V], bool) {
			entries, ok := r.entries(n)
			if !ok {
				r.wrong(n, fmt.Sprintf("must be a mapping of %s to values, not %s", key.name, describe(n)), "")
				return nil, false
			}
			defer r.within()()
			list := make([]named[V], 0, len(entries))
			for _, e := range entries {
				if !key.valid(e.key) {
					r.fail(e.at, fmt.Sprintf("%s is not a valid %s", quote(e.key), key.name), key.limits)
				}
				r.enter(e)
				list = append(list, named[V]{name: e.key, at: e.at, v: read(r, e.value, item)})
			}
			return list, true
		},
	}
}

func withoutType(schema map[string]any) map[string]any {
	c := maps.Clone(schema)
	delete(c, "type")
	return c
}

// shorthand is a mapping, or one value that stands for a mapping with little
// in it.
func shorthand[S, T any](brief kind[S], long kind[T], expand func(opt[S]) T) kind[T] {
	return kind[T]{
		shape: shape{
			name: brief.name + " or mapping", limits: brief.limits, groups: long.groups,
			json: map[string]any{"anyOf": []any{brief.json, long.json}},
		},
		parse: func(r *reader, n ast.Node) (T, bool) {
			switch n.(type) {
			case *ast.MappingNode, *ast.MappingValueNode:
				return long.parse(r, n)
			}
			v, ok := brief.parse(r, n)
			return expand(opt[S]{given: true, ok: ok, at: r.placeOf(n), v: v}), ok
		},
	}
}

// needed refuses a key without a value.
func needed[V any](k kind[V]) kind[V] {
	k.nullable = false
	return k
}

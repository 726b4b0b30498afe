package config

import (
	"fmt"
	"net/netip"

	"github.com/goccy/go-yaml/ast"

	"github.com/xlb-io/xlb/internal/yamlguard"
	"github.com/xlb-io/xlb/pkg/model"
)

// maxNodes bounds the values read, aliases expanded. A file of 16 MiB without
// aliases stays below it; a few lines of aliases to aliases do not.
const maxNodes = 2 << 20

// place is where a value stands in the file. If it was reached through an
// alias, viaLine and viaColumn are where the outermost alias stands.
type place struct{ line, column, viaLine, viaColumn int32 }

// apart returns p, or the place of the alias that led to p if the value itself
// is the very same as that at other.
func (p place) apart(other place) place {
	if p.line == other.line && p.column == other.column && p.viaLine > 0 {
		return place{line: p.viaLine, column: p.viaColumn}
	}
	return p
}

// opt is a value that the file may give.
type opt[V any] struct {
	// given: the key is there. ok: its value is right as well.
	given, ok bool
	// key and at are where the key and the value stand. An element of a list
	// has no key.
	key, at place
	v       V
}

func (o opt[V]) or(def opt[V]) opt[V] {
	if o.given {
		return o
	}
	return def
}

func (o opt[V]) orValue(def V) V {
	if o.ok {
		return o.v
	}
	return def
}

// reader walks a syntax tree and collects mistakes.
type reader struct {
	file  string
	local map[netip.Addr]string // of OnHost
	// networks are the files that rules name and that could be read; shared with
	// the readers of additions.
	networks map[string]*model.Networks
	errs     Errors
	// fragment: it is the text of an addition.
	fragment bool
	// additions are those of the option of that name.
	additions []Addition
	aliases   map[*ast.AliasNode]ast.Node
	// budget is how many more values may be read.
	budget   int
	hopeless bool
	// merging is how many merge keys are being followed.
	merging int
	// key is the key whose value is being read, for messages; keyAt is where
	// it stands.
	key   string
	keyAt place
	// via is where the outermost alias stands that is being followed.
	via place
}

func (r *reader) fail(at place, message, hint string) {
	if r.hopeless && len(r.errs) > 0 {
		return
	}
	r.errs = append(r.errs, &Error{File: r.file, Line: int(at.line), Column: int(at.column), Message: message, Hint: hint})
}

// wrong reports a mistake in the value n of the key being read.
func (r *reader) wrong(n ast.Node, message, hint string) { r.wrongAt(startOf(n), message, hint) }

func (r *reader) wrongAt(at place, message, hint string) {
	if r.key != "" {
		message = r.key + ": " + message
	}
	r.fail(at, message, hint)
}

// giveUp reports a mistake after which nothing else is worth saying.
func (r *reader) giveUp(n ast.Node, message, hint string) {
	if !r.hopeless {
		r.hopeless, r.errs = true, nil
		r.fail(startOf(n), message, hint)
	}
}

func (r *reader) placeOf(n ast.Node) place {
	p := startOf(n)
	p.viaLine, p.viaColumn = r.via.line, r.via.column
	return p
}

// locate renders p for "(first at …)". What an addition refers to may be elsewhere.
func (r *reader) locate(p place) string {
	if p.line == 0 {
		return "another service"
	}
	return fmt.Sprintf("%s:%d:%d", r.file, p.line, p.column)
}

// read reads n as a value of kind k.
func read[V any](r *reader, n ast.Node, k kind[V]) opt[V] {
	via := r.via
	defer func() { r.via = via }()
	o := opt[V]{given: true, key: r.keyAt, at: r.placeOf(n)}
	n, ok := r.open(n)
	if !ok {
		return o
	}
	o.at = r.placeOf(n)
	if _, null := n.(*ast.NullNode); null {
		// Often there is nothing at all that could be pointed at.
		if o.key.line > 0 {
			o.at = o.key
		}
		if k.nullable {
			return opt[V]{key: o.key, at: o.at}
		}
		r.wrongAt(o.at, "has no value", "give one or remove the key")
		return o
	}
	o.v, o.ok = k.parse(r, n)
	return o
}

// open follows anchors and aliases to the node they stand for.
func (r *reader) open(n ast.Node) (ast.Node, bool) {
	for {
		if r.budget--; r.budget < 0 {
			r.giveUp(n, fmt.Sprintf("the file holds more than %d values, aliases expanded", maxNodes), "use fewer aliases")
		}
		if r.hopeless {
			return nil, false
		}
		switch x := n.(type) {
		case *ast.AnchorNode:
			if x.Value == nil {
				r.wrong(x, "has no value", "give one or remove the key")
				return nil, false
			}
			n = x.Value
		case *ast.AliasNode:
			target, ok := r.aliases[x]
			if !ok {
				name := x.Value.GetToken().Value
				r.fail(startOf(x), fmt.Sprintf("unknown alias *%s", name), fmt.Sprintf("an anchor &%s must be complete before it is used", name))
				return nil, false
			}
			if r.via.line == 0 {
				r.via = startOf(x)
			}
			n = target
		case *ast.TagNode:
			r.fail(startOf(x), fmt.Sprintf("the tag %s is not supported", x.Start.Value), "remove it")
			return nil, false
		default:
			return n, true
		}
	}
}

// entry is a key of a mapping and its value.
type entry struct {
	key   string
	at    place
	value ast.Node
	// via is the alias that brought the entry in, if any.
	via place
}

// entries returns the entries of a mapping: its own in the order of the file,
// then those of its merge keys. It reports false if n is no mapping.
func (r *reader) entries(n ast.Node) ([]entry, bool) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		return nil, false
	}
	list := make([]entry, 0, len(values))
	seen := make(map[string]place, len(values))
	var merges []ast.Node
	for _, v := range values {
		name := keyOf(v.Key)
		at := r.placeOf(v.Key)
		first, double := seen[name]
		switch {
		case double:
			r.fail(at, fmt.Sprintf("the key %q is given twice", name), "first at "+r.locate(first))
			continue
		case v.Key.IsMergeKey():
			merges = append(merges, v.Value)
		default:
			list = append(list, entry{key: name, at: at, value: v.Value, via: r.via})
		}
		seen[name] = at
	}
	for _, m := range merges {
		for _, e := range r.merged(m) {
			if _, own := seen[e.key]; !own {
				seen[e.key] = e.at
				list = append(list, e)
			}
		}
	}
	return list, true
}

// merged returns the entries that the value of a merge key stands for: those
// of a mapping or of a list of mappings, of which earlier ones win.
func (r *reader) merged(n ast.Node) []entry {
	via := r.via
	r.merging++
	defer func() { r.via = via; r.merging-- }()
	if r.merging > yamlguard.MaxNesting {
		r.giveUp(n, fmt.Sprintf("merge keys nested more than %d levels deep", yamlguard.MaxNesting), "")
		return nil
	}
	n, ok := r.open(n)
	if !ok {
		return nil
	}
	if list, ok := n.(*ast.SequenceNode); ok {
		var all []entry
		for _, item := range list.Values {
			if _, nested := item.(*ast.SequenceNode); nested {
				r.fail(startOf(item), "a merge key takes a mapping or a list of mappings", "")
				continue
			}
			all = append(all, r.merged(item)...)
		}
		return all
	}
	own, ok := r.entries(n)
	if !ok {
		r.fail(startOf(n), "a merge key takes a mapping or a list of mappings", "")
	}
	r.budget -= len(own)
	return own
}

// keyOf is the text of a key: 80, "80" and ? 80 are the same key.
func keyOf(k ast.Node) string {
	switch k := k.(type) {
	case *ast.MappingKeyNode:
		if k.Value != nil {
			return keyOf(k.Value)
		}
	case *ast.AnchorNode:
		if k.Value != nil {
			return keyOf(k.Value)
		}
	case *ast.StringNode:
		return k.Value
	case *ast.LiteralNode:
		return k.Value.Value
	}
	return k.GetToken().Value
}

// enter makes e the key being read.
func (r *reader) enter(e entry) { r.key, r.keyAt, r.via = e.key, e.at, e.via }

// within returns a function that makes the key being read now the key being
// read again.
func (r *reader) within() (restore func()) {
	key, at, via := r.key, r.keyAt, r.via
	return func() { r.key, r.keyAt, r.via = key, at, via }
}

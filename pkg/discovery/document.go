package discovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/xlb-io/xlb/pkg/model"
)

// maxDocument bounds a document: some 100,000 backends with all their keys.
const maxDocument = 16 << 20

// item is an element of a document: a text, or a mapping of keys to texts,
// [json.Number], booleans, lists and nil.
type item struct {
	line  int
	value any
}

// parseDocument reads backends from a document that somebody else wrote, in
// JSON or, if yaml is set, in YAML: a list of backends, or a mapping with such a
// list as `backends`. The name is that of the document, for errors. What is
// wrong with one backend is a warning, and the others are returned; what makes
// the document doubtful is an error.
func parseDocument(name string, data []byte, yaml bool, base model.Backend) (backends []model.Backend, warnings []string, err error) {
	if len(data) > maxDocument {
		return nil, nil, fmt.Errorf("%s: larger than 16 MiB", name)
	}
	parse := jsonItems
	if yaml {
		parse = yamlItems
	}
	items, err := parse(data)
	if err != nil {
		var at *lineError
		if errors.As(err, &at) {
			return nil, nil, fmt.Errorf("%s:%d: %s", name, at.line, at.text)
		}
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	backends = make([]model.Backend, 0, len(items))
	for _, i := range items {
		b, err := backendOf(i.value, base)
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("%s:%d: %v; this backend is left out", name, i.line, err))
			continue
		}
		backends = append(backends, b)
	}
	if len(backends) == 0 && len(warnings) > 0 {
		return nil, nil, errors.New(strings.TrimSuffix(warnings[0], "; this backend is left out"))
	}
	return backends, warnings, nil
}

// parseBackend reads one backend, as an element of a document in JSON: a
// mapping, or the text of its address with or without quotes.
func parseBackend(data []byte, base model.Backend) (model.Backend, error) {
	text := strings.TrimSpace(string(data))
	if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, `"`) {
		return backendOf(text, base)
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return model.Backend{}, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return model.Backend{}, errors.New("something follows the backend")
	}
	return backendOf(v, base)
}

// lineError is a mistake at a line, from 1.
type lineError struct {
	line int
	text string
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

const wrongDocument = "a document is a list of backends, or a mapping with such a list as backends"

var backendKeys = []string{"address", "port", "weight", "zone", "tags", "priority", "drain", "server_id"}

// backendOf reads one backend. What it does not say is that of base; its tags
// are added to those of base.
func backendOf(v any, base model.Backend) (model.Backend, error) {
	b := base
	if text, ok := v.(string); ok {
		return b, readAddress(&b, text)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return b, errors.New("a backend is an address, or a mapping with address")
	}
	for key := range m {
		if !slices.Contains(backendKeys, key) {
			return b, fmt.Errorf("unknown key %q (known: %s)", key, strings.Join(backendKeys, ", "))
		}
	}
	text, ok := m["address"].(string)
	if !ok {
		return b, errors.New("address is missing, or no text")
	}
	b.Address = netip.AddrPort{}
	if err := readAddress(&b, text); err != nil {
		return b, err
	}
	port := int64(0)
	err := errors.Join(
		readNumber(m, "port", 1, 65535, func(n int64) { port = n }),
		readNumber(m, "weight", 0, 65535, func(n int64) { b.Weight = uint16(n) }),
		readNumber(m, "priority", 0, 255, func(n int64) { b.Priority = uint8(n) }),
		readLabels(m, &b),
	)
	switch {
	case err != nil:
		return b, errors.New(strings.ReplaceAll(err.Error(), "\n", ", "))
	case port != 0 && b.Address.Port() != 0:
		return b, errors.New("the port is given twice")
	case port != 0:
		b.Address = netip.AddrPortFrom(b.Address.Addr(), uint16(port))
	case b.Address.Port() == 0:
		b.Address = netip.AddrPortFrom(b.Address.Addr(), base.Address.Port())
	}
	return b, nil
}

// readAddress reads an address with or without a port, which is that of b then.
func readAddress(b *model.Backend, text string) error {
	if ap, err := netip.ParseAddrPort(text); err == nil && ap.Port() != 0 {
		b.Address = ap
		return nil
	}
	bare := text
	if inner, ok := strings.CutPrefix(text, "["); ok {
		bare = strings.TrimSuffix(inner, "]")
	}
	a, err := netip.ParseAddr(bare)
	if err != nil {
		return fmt.Errorf("%q is not an address with or without a port", text)
	}
	b.Address = netip.AddrPortFrom(a, b.Address.Port())
	return nil
}

func readNumber(m map[string]any, key string, low, high int64, set func(int64)) error {
	v, there := m[key]
	if !there {
		return nil
	}
	number, ok := v.(json.Number)
	if ok {
		if n, err := number.Int64(); err == nil && n >= low && n <= high {
			set(n)
			return nil
		}
	}
	return fmt.Errorf("%s must be a whole number from %d to %d", key, low, high)
}

func readLabels(m map[string]any, b *model.Backend) error {
	if v, there := m["zone"]; there {
		zone, ok := v.(string)
		if !ok {
			return errors.New("zone must be a text")
		}
		b.Zone = zone
	}
	if v, there := m["drain"]; there {
		drain, ok := v.(bool)
		if !ok {
			return errors.New("drain must be true or false")
		}
		b.Drain = drain
	}
	if v, there := m["server_id"]; there {
		id, ok := v.(string)
		if !ok || id == "" || !model.ValidServerID(id) {
			return errors.New("server_id must be 1 to 15 octets in hexadecimal digits, quoted if all are decimal")
		}
		b.ServerID = strings.ToLower(id)
	}
	v, there := m["tags"]
	if !there {
		return nil
	}
	list, ok := v.([]any)
	if one, alone := v.(string); alone {
		list, ok = []any{one}, true
	}
	tags := b.Tags.List()
	for _, t := range list {
		text, isText := t.(string)
		tags, ok = append(tags, text), ok && isText
	}
	if !ok {
		return errors.New("tags must be a list of texts")
	}
	b.Tags = model.TagsOf(tags...)
	return nil
}

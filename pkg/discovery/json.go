package discovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// jsonItems returns the elements of a document in JSON.
func jsonItems(data []byte) ([]item, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	r := &jsonReader{Decoder: dec, data: data}
	items, err := r.document()
	switch syntax := (*json.SyntaxError)(nil); {
	case err == nil:
		return items, nil
	case len(bytes.TrimSpace(data)) == 0:
		return nil, errors.New("empty; a document without backends is []")
	case errors.As(err, &syntax):
		return nil, &lineError{r.lineOf(syntax), "not JSON: " + syntax.Error()}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return nil, &lineError{r.line(int64(len(data))), "the document ends in the middle"}
	}
	return nil, err
}

type jsonReader struct {
	*json.Decoder
	data []byte
}

func (r *jsonReader) line(offset int64) int {
	return 1 + bytes.Count(r.data[:min(offset, int64(len(r.data)))], []byte("\n"))
}

const between = ", \t\r\n:" // values

// next is the line where the next value begins.
func (r *jsonReader) next() int { return r.after(r.InputOffset()) }

func (r *jsonReader) after(offset int64) int {
	rest := r.data[offset:]
	return r.line(offset + int64(len(rest)-len(bytes.TrimLeft(rest, between))))
}

// lineOf is where an error is: some errors are told behind the character that
// is wrong, some before the space in front of it.
func (r *jsonReader) lineOf(e *json.SyntaxError) int {
	offset := min(e.Offset, int64(len(r.data)))
	if offset > 0 && !bytes.ContainsAny(r.data[offset-1:offset], between) {
		return r.line(offset)
	}
	return r.after(offset)
}

func (r *jsonReader) document() (items []item, err error) {
	line := r.next()
	start, err := r.Token()
	switch {
	case err != nil:
		return nil, err
	case start == json.Delim('['):
		items, err = r.list()
	case start == json.Delim('{'):
		items, err = r.mapping(line)
	default:
		return nil, &lineError{line, wrongDocument}
	}
	if err != nil {
		return nil, err
	}
	line = r.next()
	if _, err := r.Token(); !errors.Is(err, io.EOF) {
		return nil, &lineError{line, "something follows the document"}
	}
	return items, nil
}

func (r *jsonReader) list() (items []item, err error) {
	for r.More() {
		one := item{line: r.next()}
		if err := r.Decode(&one.value); err != nil {
			return nil, err
		}
		items = append(items, one)
	}
	_, err = r.Token()
	return items, err
}

func (r *jsonReader) mapping(line int) (items []item, err error) {
	found := false
	for r.More() {
		at := r.next()
		key, err := r.Token()
		if err != nil {
			return nil, err
		}
		if key != "backends" || found {
			return nil, &lineError{at, fmt.Sprintf("key %q: %s, once", key, wrongDocument)}
		}
		found = true
		at = r.next()
		start, err := r.Token()
		if err != nil {
			return nil, err
		}
		if start != json.Delim('[') {
			return nil, &lineError{at, "backends must be a list"}
		}
		if items, err = r.list(); err != nil {
			return nil, err
		}
	}
	if _, err := r.Token(); err != nil {
		return nil, err
	}
	if !found {
		return nil, &lineError{line, wrongDocument}
	}
	return items, nil
}

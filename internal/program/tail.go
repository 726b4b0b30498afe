package program

import (
	"fmt"
	"strings"
	"unicode"
)

// TailSize is how many bytes a [Tail] keeps.
const TailSize = 512

// Tail keeps the end of what is written to it: what a program said at last is why
// it failed.
type Tail struct{ text []byte }

// Write implements [io.Writer].
func (t *Tail) Write(b []byte) (int, error) {
	t.text = append(t.text, b[max(0, len(b)-TailSize):]...)
	if extra := len(t.text) - TailSize; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	return len(b), nil
}

// Explain adds what was written to err, in one line; nil stays nil.
func (t *Tail) Explain(err error) error {
	words := strings.FieldsFunc(strings.ToValidUTF8(string(t.text), ""), func(r rune) bool { return unicode.IsControl(r) || r == ' ' })
	if err == nil || len(words) == 0 {
		return err
	}
	return fmt.Errorf("%w: %s", err, strings.Join(words, " "))
}

package importer

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// words is a line of a configuration, taken apart.
type words struct {
	at   place
	text []string
}

func (w words) first() string { return w.text[0] }

func (w words) arg(i int) string {
	if i+1 < len(w.text) {
		return w.text[i+1]
	}
	return ""
}

func (w words) String() string { return strings.Join(w.text, " ") }

// after returns the word after the keyword, and whether the keyword is there.
func (w words) after(keyword string) (string, bool) {
	for i, t := range w.text {
		if t == keyword && i+1 < len(w.text) {
			return w.text[i+1], true
		}
	}
	return "", false
}

// begins says whether the line begins with these words.
func (w words) begins(keys ...string) bool {
	return len(w.text) >= len(keys) && slices.Equal(w.text[:len(keys)], keys)
}

// options are the words from one on, each with its argument if it takes one.
func (w words) options(from int, withArgument []string) map[string]string {
	out := map[string]string{}
	for i := from; i < len(w.text); i++ {
		name, value := w.text[i], ""
		if slices.Contains(withArgument, name) && i+1 < len(w.text) {
			i++
			value = w.text[i]
		}
		out[name] = value
	}
	return out
}

func (w words) has(keyword string) bool {
	return slices.Contains(w.text, keyword)
}

// readWords reads a file line by line as HAProxy does (its manual, section 2.2):
// words between spaces, # begins a comment, a backslash takes the next
// character as it is, 'strong' and "weak" quotes.
func readWords(path string) ([]words, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []words
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<20)
	for n := 1; scanner.Scan(); n++ {
		at := place{path, n}
		text, err := splitWords(scanner.Text())
		if err != nil {
			return nil, at.errorf("%v", err)
		}
		if len(text) > 0 {
			out = append(out, words{at, text})
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

func splitWords(line string) ([]string, error) {
	var out []string
	var word strings.Builder
	begun, quote := false, rune(0)
	end := func() {
		if begun {
			out = append(out, word.String())
		}
		word.Reset()
		begun = false
	}
	runes := []rune(line)
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		switch {
		case quote == '\'' && r != '\'':
			word.WriteRune(r)
		case r == '\\' && i+1 < len(runes):
			i++
			begun = true
			word.WriteRune(unescaped(runes[i]))
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, begun = r, true
		case r == '#':
			end()
			return out, nil
		case r == ' ' || r == '\t' || r == '\r':
			end()
		default:
			begun = true
			word.WriteRune(r)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("the quote %c is not closed", quote)
	}
	end()
	return out, nil
}

func unescaped(r rune) rune {
	switch r {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return r
}

// haproxyTime reads a time: a number with us, ms, s, m, h or d; milliseconds
// without.
func haproxyTime(s string) (time.Duration, bool) {
	digits := strings.TrimRight(s, "usmhd")
	n, err := strconv.Atoi(digits)
	unit, ok := map[string]time.Duration{
		"": time.Millisecond, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second,
		"m": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
	}[s[len(digits):]]
	return time.Duration(n) * unit, err == nil && ok && n >= 0
}

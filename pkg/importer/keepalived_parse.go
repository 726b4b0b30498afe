package importer

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// block is a line of keepalived's configuration with what stands in its braces.
type block struct {
	words
	inner []*block
}

// find is the last line of a block that begins with one of the names.
func (b *block) find(names ...string) *block {
	for _, c := range slices.Backward(b.inner) {
		if slices.Contains(names, c.first()) {
			return c
		}
	}
	return nil
}

// value is the first argument of that line.
func (b *block) value(names ...string) string {
	if c := b.find(names...); c != nil {
		return c.arg(0)
	}
	return ""
}

// reader reads files of keepalived. Definitions ($NAME=text) hold from where they
// stand on, across includes.
type reader struct{ defined map[string]string }

// blocks reads a file and those that it includes. Words stand between spaces
// and may be quoted; # and ! begin comments; braces hold blocks.
func (r *reader) blocks(path string, depth int) ([]*block, error) {
	if depth > 16 {
		return nil, fmt.Errorf("%s: includes are nested more than 16 deep", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	root := &block{}
	open := nest{root}
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<20)
	for n := 1; scanner.Scan(); n++ {
		at := place{path, n}
		text, err := keepalivedWords(r.expanded(scanner.Text()))
		if err != nil {
			return nil, at.errorf("%v", err)
		}
		line, err := open.read(at, text)
		if err != nil {
			return nil, err
		}
		if len(line) > 1 && line[0] == "include" {
			more, err := r.included(path, line[1], depth)
			if wrong := (*Error)(nil); errors.As(err, &wrong) {
				return nil, err
			} else if err != nil {
				return nil, at.errorf("%v", err)
			}
			open.top().inner = append(open.top().inner, more...)
			continue
		}
		open.add(at, line)
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if top := open.top(); top != root {
		return nil, top.at.errorf("%s { is not closed", top)
	}
	return root.inner, nil
}

// nest are the blocks that are open while a file is read, the file itself first.
type nest []*block

func (n nest) top() *block { return n[len(n)-1] }

func (n nest) add(at place, line []string) {
	if len(line) > 0 {
		n.top().inner = append(n.top().inner, &block{words: words{at, line}})
	}
}

// read takes the words of a line in, but for those after its last brace, which it
// returns.
func (n *nest) read(at place, text []string) (rest []string, err error) {
	for _, w := range text {
		if w != "{" && w != "}" {
			rest = append(rest, w)
			continue
		}
		n.add(at, rest)
		rest = nil
		if w == "}" {
			if len(*n) == 1 {
				return nil, at.errorf("a } closes nothing")
			}
			*n = (*n)[:len(*n)-1]
			continue
		}
		inner := n.top().inner // on a line of its own, { is of the line before
		if len(inner) == 0 {
			return nil, at.errorf("a { without a name before it")
		}
		*n = append(*n, inner[len(inner)-1])
	}
	return rest, nil
}

var (
	definition = regexp.MustCompile(`^\s*\$([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$`)
	defined    = regexp.MustCompile(`\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))`)
)

// expanded is a line with the definitions it uses in their place; nothing of it is
// left if it is one itself.
func (r *reader) expanded(line string) string {
	line = defined.ReplaceAllStringFunc(line, func(use string) string {
		if text, ok := r.defined[strings.Trim(use, "${}")]; ok {
			return text
		}
		return use
	})
	if d := definition.FindStringSubmatch(line); d != nil {
		r.defined[d[1]] = d[2]
		return ""
	}
	return line
}

func (r *reader) included(from, pattern string, depth int) ([]*block, error) {
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(filepath.Dir(from), pattern)
	}
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 && !strings.ContainsAny(pattern, "*?[") {
		return nil, fmt.Errorf("include %s: %w", pattern, fs.ErrNotExist)
	}
	var out []*block
	for _, p := range paths {
		more, err := r.blocks(p, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

func keepalivedWords(line string) ([]string, error) {
	var out []string
	var word strings.Builder
	begun, quoted := false, false
	end := func() {
		if begun {
			out = append(out, word.String())
		}
		word.Reset()
		begun = false
	}
	for _, r := range line {
		switch {
		case quoted && r != '"':
			word.WriteRune(r)
		case r == '"':
			quoted, begun = !quoted, true
		case r == '#' || r == '!':
			end()
			return out, nil
		case r == ' ' || r == '\t' || r == '\r':
			end()
		case r == '{' || r == '}':
			end()
			out = append(out, string(r))
		default:
			begun = true
			word.WriteRune(r)
		}
	}
	if quoted {
		return nil, errors.New(`a quote is not closed`)
	}
	end()
	return out, nil
}

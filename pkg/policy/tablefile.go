package policy

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// maxTableLine is the longest line of a table file, in bytes.
const maxTableLine = 4096

// makeTables makes the manifest's tables and fills those that have a file.
func (p *Policy) makeTables() error {
	for _, spec := range p.bundle.Manifest.Tables {
		t := &table{spec: spec, source: p.spec.Tables[spec.Name]}
		t.contents.Store(newContents(spec.Kind))
		p.tables = append(p.tables, t)
	}
	return p.ReloadTables()
}

// ReloadTables reads the files of all tables again. A table whose file is wrong
// stays as it is; the error names all such.
func (p *Policy) ReloadTables() error {
	var all []error
	for _, t := range p.tables {
		if err := t.reload(p.rt.clock()); err != nil {
			all = append(all, fmt.Errorf("table %s: %w", t.spec.Name, err))
		}
	}
	return p.wrap("tables", errors.Join(all...))
}

const fromAPI = "api"

func (t *table) reload(now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.source == "" || t.source == fromAPI {
		return nil
	}
	c, err := readTable(t.source, t.spec.Kind)
	if err != nil {
		t.error = err.Error()
		return err
	}
	t.contents.Store(c)
	t.loaded, t.error = now, ""
	return nil
}

// SetTable replaces what a table holds. One that is filled from a file is refused.
func (p *Policy) SetTable(name string, entries []TableEntry) error {
	for _, t := range p.tables {
		if t.spec.Name == name {
			if err := t.set(entries, p.rt.clock()); err != nil {
				return p.wrap("tables", fmt.Errorf("table %s: %w", name, err))
			}
			return nil
		}
	}
	return p.wrap("tables", known("table", map[string]bool{name: true}, p.tableNames()))
}

func (p *Policy) tableNames() []string {
	var names []string
	for _, t := range p.tables {
		names = append(names, t.spec.Name)
	}
	return names
}

func (t *table) set(entries []TableEntry, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.source != "" && t.source != fromAPI {
		return fmt.Errorf("it is filled from %s (change the file and reload it)", t.source)
	}
	c := newContents(t.spec.Kind)
	for i, e := range entries {
		if err := c.add(e); err != nil {
			return fmt.Errorf("entry %d: %w", i+1, err)
		}
	}
	t.contents.Store(c)
	t.source, t.loaded, t.error = fromAPI, now, ""
	return nil
}

// readTable reads a table file or, by its name, a database.
func readTable(source string, kind TableKind) (*contents, error) {
	path, field, _ := strings.Cut(source, "#")
	if filepath.Ext(path) == ".mmdb" {
		return readDatabase(path, field, kind)
	}
	f, err := os.Open(source)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := newContents(kind)
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 0, maxTableLine), maxTableLine)
	n := 0
	for lines.Scan() {
		n++
		if err := c.addLine(lines.Text()); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", source, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", source, n+1, err)
	}
	return c, nil
}

// addLine adds "KEY VALUE"; the value may be missing, "#" begins a comment.
func (c *contents) addLine(line string) error {
	line, _, _ = strings.Cut(line, "#")
	switch f := strings.Fields(line); len(f) {
	case 0:
		return nil
	case 1:
		return c.add(TableEntry{Key: f[0]})
	case 2:
		return c.add(TableEntry{Key: f[0], Value: f[1]})
	default:
		return fmt.Errorf("%d words, a line is KEY or KEY VALUE", len(f))
	}
}

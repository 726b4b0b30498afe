package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// align is the side on which a column's text stands.
type align bool

const (
	left  align = false
	right align = true
)

// column is a column of a table.
type column struct {
	name  string
	align align
	// shrinks: on a narrow terminal the text may be cut short.
	shrinks bool
}

// cell is a text with a style.
type cell struct {
	text  string
	style style
}

// table is printed in aligned columns.
type table struct {
	columns []column
	rows    [][]cell
}

// add appends a row of plain texts and cells.
func (t *table) add(values ...any) {
	row := make([]cell, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case cell:
			row[i] = v
		default:
			row[i] = cell{text: fmt.Sprint(v)}
		}
		row[i].text = printable(row[i].text)
	}
	t.rows = append(t.rows, row)
}

// printable keeps what came over a socket or out of a probe's answer from
// steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

const (
	gap = "  "
	// leastWidth is what remains of a column that shrinks.
	leastWidth = 8
)

// print writes the table with an indent. Columns that nothing stands in are
// left out.
func (e *env) printTable(t *table, indent string) {
	widths := t.widths()
	if e.width > 0 {
		t.fit(widths, e.width-len(indent))
	}
	for _, row := range append([][]cell{t.header()}, t.rows...) {
		e.printRow(e.stdout, t.columns, widths, row, indent)
	}
}

func (t *table) header() []cell {
	header := make([]cell, len(t.columns))
	for i, c := range t.columns {
		header[i] = cell{c.name, bold}
	}
	return header
}

// widths of the columns; 0 leaves one out.
func (t *table) widths() []int {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		for _, row := range t.rows {
			if row[i].text != "" {
				widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text), utf8.RuneCountInString(c.name))
			}
		}
	}
	return widths
}

// fit takes from the widest columns that shrink until the table fits.
func (t *table) fit(widths []int, room int) {
	total := -len(gap)
	for _, w := range widths {
		if w > 0 {
			total += w + len(gap)
		}
	}
	for ; total > room; total-- {
		widest := -1
		for i, c := range t.columns {
			if c.shrinks && widths[i] > max(leastWidth, len(c.name)) && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

func (e *env) printRow(w io.Writer, columns []column, widths []int, row []cell, indent string) {
	var b strings.Builder
	b.WriteString(indent)
	pending := 0 // spaces, written only if something follows
	for i, c := range row {
		width := widths[i]
		if width == 0 {
			continue
		}
		text := cut(c.text, width)
		spare := width - utf8.RuneCountInString(text)
		before, after := 0, spare
		if columns[i].align == right {
			before, after = spare, 0
		}
		if text != "" {
			b.WriteString(strings.Repeat(" ", pending+before))
			pending = 0
			b.WriteString(e.paint(text, c.style))
		} else {
			pending += before
		}
		pending += after + len(gap)
	}
	fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
}

// cut shortens a text to width columns, marking that something is missing.
func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

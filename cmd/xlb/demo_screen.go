package main

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/xlb-io/xlb/internal/demo"
	"github.com/xlb-io/xlb/pkg/api"
)

// demoScreen prints the demo. On a terminal a table is drawn over the one
// before; elsewhere only the last one is printed.
type demoScreen struct {
	*env
	steps int
	// lines of the table on the terminal that the next one covers.
	lines int
	// last is the table not yet printed where stdout is no terminal.
	last *demo.Table
	// said: a sentence was printed last, and a table wants some distance.
	said bool
}

const demoIndent = "   "

// Step implements [demo.Screen].
func (s *demoScreen) Step(sentence string) {
	s.flush()
	s.steps++
	s.said = false
	s.printf("\n%s\n", s.paint(fmt.Sprintf("%d  %s", s.steps, sentence), bold))
}

// Say implements [demo.Screen].
func (s *demoScreen) Say(sentence string) {
	s.flush()
	s.printf("%s%s\n", demoIndent, sentence)
	s.said = true
}

// Table implements [demo.Screen].
func (s *demoScreen) Table(t demo.Table) {
	if !s.isTerminal {
		s.last = &t
		return
	}
	// Written at once, or the screen would flicker. A line that wrapped would
	// be two, and the next table would start too low.
	const upClear, noWrap, wrap = "\x1b[%dA\x1b[J", "\x1b[?7l", "\x1b[?7h"
	text := s.demoTable(t)
	var page bytes.Buffer
	if s.lines == 0 {
		s.space()
	} else {
		fmt.Fprintf(&page, upClear, s.lines)
	}
	page.WriteString(noWrap + text + wrap)
	s.lines = strings.Count(text, "\n")
	_, _ = s.stdout.Write(page.Bytes())
}

// flush lets the last table stay.
func (s *demoScreen) flush() {
	if s.last != nil {
		s.space()
		s.printf("%s", s.demoTable(*s.last))
	}
	s.last, s.lines = nil, 0
}

func (s *demoScreen) space() {
	if s.said {
		s.printf("\n")
	}
	s.said = false
}

func (s *demoScreen) demoTable(t demo.Table) string {
	columns := []column{{name: "BACKEND"}, {name: "ADDRESS"}, {name: "WEIGHT", align: right}, {name: "STATE"}}
	for _, name := range t.Counts {
		columns = append(columns, column{name: strings.ToUpper(name), align: right})
	}
	columns = append(columns, column{name: "SHARE", align: right}, column{name: "REASON", shrinks: true})
	out := &table{columns: columns}
	for _, r := range t.Rows {
		row := []any{r.Name, r.Address, r.Weight, cell{r.State, stateStyle(r.State)}}
		for _, n := range r.Counts {
			row = append(row, n)
		}
		reason := r.Reason
		if r.State == api.StateHealthy {
			reason = ""
		}
		out.add(append(row, fmt.Sprintf("%.1f%%", 100*r.Share), reason)...)
	}
	var text bytes.Buffer
	to := *s.env
	to.stdout = &text
	to.printTable(out, demoIndent)
	to.printf("%s%s\n", demoIndent, s.paint(t.Note, faint))
	return text.String()
}

func demoShares(f demo.Figures) string {
	answered := 0
	for _, n := range f.PerBackend {
		answered += n
	}
	var shares []string
	for _, a := range slices.SortedFunc(maps.Keys(f.PerBackend), netip.Addr.Compare) {
		shares = append(shares, fmt.Sprintf("%.1f%%", 100*float64(f.PerBackend[a])/float64(max(1, answered))))
	}
	return strings.Join(shares, ", ")
}

package compare

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// column is a column of the table of results.
type column struct {
	// head names it in Markdown, short in text.
	head, short string
	cell        func(Result) string
}

var columns = []column{
	{"connections/s", "CONN/s", func(r Result) string { return thousands(r.Connections.Median) }},
	{"CPU µs per connection", "CPU µs", func(r Result) string { return unlessNone(r.ConnectionCPU.Median) }},
	{"requests/s", "REQ/s", func(r Result) string { return thousands(r.Requests.Median) }},
	{"CPU µs per request", "CPU µs", func(r Result) string { return unlessNone(r.RequestCPU.Median) }},
	{"p50 ms", "p50 ms", func(r Result) string { return fixed(r.P50.Median/1000, 2) }},
	{"p99 ms", "p99 ms", func(r Result) string { return fixed(r.P99.Median/1000, 2) }},
	{"p99.9 ms", "p99.9", func(r Result) string { return fixed(r.P999.Median/1000, 2) }},
	{"upload GB/s", "UP GB/s", func(r Result) string { return fixed(r.Upload.Median, 2) }},
	{"download GB/s", "DOWN", func(r Result) string { return fixed(r.Download.Median, 2) }},
}

// Text writes the report as an aligned table, with problems below it.
func (r Report) Text(w io.Writer) error {
	lines := [][]string{{"BALANCER"}}
	for _, c := range columns {
		lines[0] = append(lines[0], c.short)
	}
	for _, one := range r.Results {
		lines = append(lines, one.line())
	}
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				b.WriteString(cell + pad)
			} else {
				b.WriteString("  " + pad + cell)
			}
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\n%s\n", r.conditions())
	for _, p := range r.Problems() {
		fmt.Fprintf(&b, "FAILED %s\n", p)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the report for a document.
func (r Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n| balancer |", r.conditions())
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.head)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(columns)) + "\n")
	for _, one := range r.Results {
		cells := one.line()
		fmt.Fprintf(&b, "| `%s` | %s |\n", cells[0], strings.Join(cells[1:], " | "))
	}
	b.WriteString("\n")
	for _, one := range r.Results {
		fmt.Fprintf(&b, "- `%s`: %s\n", one.Name, one.What)
	}
	if problems := r.Problems(); len(problems) > 0 {
		fmt.Fprintf(&b, "\nFailed:\n\n- %s\n", strings.Join(problems, "\n- "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r Result) line() []string {
	line := []string{r.Name}
	for _, c := range columns {
		if r.Connections.Median == 0 {
			line = append(line, "–")
			continue
		}
		line = append(line, c.cell(r))
	}
	return line
}

// conditions are under which the figures were taken.
func (r Report) conditions() string {
	var programs []string
	for _, name := range slices.Sorted(maps.Keys(r.Programs)) {
		programs = append(programs, name+" "+r.Programs[name])
	}
	text := fmt.Sprintf("Medians of %d rounds, each piece %d s. Linux %s, %d CPUs (%s) shared by client, balancer\nand backends; %s.",
		r.Rounds, r.Seconds, r.Kernel, r.CPUs, r.CPU, strings.Join(programs, ", "))
	if r.Others.Max > noisy {
		text += fmt.Sprintf("\nThe machine was not quiet: others used %.2f (%.2f–%.2f) CPUs. CPU times are of the rounds in which they used less than %.1f.",
			r.Others.Median, r.Others.Min, r.Others.Max, noisy)
	}
	return text
}

// unlessNone is a CPU time, of which there is none without a quiet round.
func unlessNone(v float64) string {
	if v == 0 {
		return "–"
	}
	return fixed(v, 1)
}

func fixed(v float64, decimals int) string { return strconv.FormatFloat(v, 'f', decimals, 64) }

// thousands groups digits: 12,345.
func thousands(v float64) string {
	digits := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

package profile

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Text writes the report: files, the lines with the largest shares, and sizes.
func (r Report) Text(w io.Writer, lines int) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FILE\tSHARE %\tIN HELPERS %\tns\tINSTRUCTIONS")
	total, helpers := 0, 0.0
	for _, s := range r.Files {
		total += s.Instructions
		helpers += s.Helpers
		fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.1f\t%d\n", s.File, s.Percent, s.Helpers, s.NS, s.Instructions)
	}
	fmt.Fprintf(t, "all\t100\t%.1f\t%.1f\t%d\n\n", helpers, r.Result.MedianNS, total)
	fmt.Fprintln(t, "LINE\tSHARE %\tIN HELPERS %\tns\t")
	for _, s := range r.Lines[:min(lines, len(r.Lines))] {
		fmt.Fprintf(t, "%s:%d\t%.1f\t%.1f\t%.1f\t%s\n", s.File, s.Line, s.Percent, s.Helpers, s.NS, strings.TrimSpace(s.Text))
	}
	fmt.Fprintln(t, "\nFUNCTION\tBYTES")
	for _, f := range r.Program.Functions {
		fmt.Fprintf(t, "%s\t%d\n", f.Name, f.Bytes)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s %s %s: %.1f ns (%.1f–%.1f); %d samples in the data plane\n%s: %d instructions, %d bytes of machine code, %d instructions verified; Linux %s, %s\n",
		r.Result.Hook, r.Result.Forward, r.Result.Scenario, r.Result.MedianNS, r.Result.MinNS, r.Result.MaxNS, r.Samples,
		r.Program.Name, r.Program.Instructions, r.Program.Bytes, r.Program.Verified, r.Kernel, r.CPU)
	return err
}

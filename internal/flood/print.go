package flood

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Text writes the report as an aligned table.
func (r Report) Text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tCPUS\tMEDIAN Mpps\tMIN\tMAX\tLOSS\tWHERE\tWHAT")
	for _, x := range r.Results {
		if x.Skipped != "" {
			fmt.Fprintf(t, "%s\t%d\t-\t-\t-\t-\tskipped: %s\t%s\n", x.Name, x.Threads, x.Skipped, x.What)
			continue
		}
		fmt.Fprintf(t, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.1f %%\t%s\t%s\n",
			x.Name, x.Threads, x.MedianMpps, x.MinMpps, x.MaxMpps, 100*x.Loss, x.where(), x.What)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n64-byte frames over veth for a second of each sending CPU's time, the generator's share included; %d rounds of %.2f s each, rows in turn; Linux %s, %s\n",
		r.Rounds, r.Seconds, r.Kernel, r.CPU)
	return err
}

// where names the places of loss, the worst first.
func (x Result) where() string {
	places := slices.SortedFunc(maps.Keys(x.Lost), func(a, b string) int {
		return strings.Compare(fmt.Sprintf("%020d%s", x.Lost[b], b), fmt.Sprintf("%020d%s", x.Lost[a], a))
	})
	if len(places) == 0 {
		return "-"
	}
	return strings.Join(places, ", ")
}

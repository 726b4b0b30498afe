package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// FlowTableReport is what [RunFlowTables] found.
type FlowTableReport struct {
	Rounds  int               `json:"rounds"`
	Room    int               `json:"room"` // flows; for hit-1m four times as many
	Kernel  string            `json:"kernel"`
	CPU     string            `json:"cpu"`
	Results []FlowTableResult `json:"results"`
}

// FlowTableResult is what one task costs in one flow table, in nanoseconds a packet
// over what a packet costs without any table.
type FlowTableResult struct {
	Table    string  `json:"table"`
	What     string  `json:"what"`
	Task     string  `json:"task"`
	MedianNS float64 `json:"median_ns"`
	MinNS    float64 `json:"min_ns"`
	MaxNS    float64 `json:"max_ns"`
	// Refused: the table took no flow.
	Refused bool `json:"refused,omitempty"`
	// Bytes of kernel memory for each flow that it has room for.
	Bytes float64 `json:"bytes"`
}

// Text writes the report as a table with a row for each flow table and a column for
// each task.
func (r FlowTableReport) Text(w io.Writer) error {
	var tables, tasks []string
	cells, what, bytes := map[string]string{}, map[string]string{}, map[string]float64{}
	for _, x := range r.Results {
		if what[x.Table] == "" {
			tables = append(tables, x.Table)
			what[x.Table], bytes[x.Table] = x.What, x.Bytes
		}
		if len(tasks) == 0 || tasks[len(tasks)-1] != x.Task {
			tasks = append(tasks, x.Task)
		}
		cell := fmt.Sprintf("%.0f (%.0f–%.0f)", x.MedianNS, x.MinNS, x.MaxNS)
		if x.Refused {
			cell = "refused: " + cell
		}
		cells[x.Table+" "+x.Task] = cell
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "TABLE\t")
	for _, task := range tasks {
		fmt.Fprintf(t, "%s\t", task)
	}
	fmt.Fprintln(t, "BYTES\tWHAT")
	for _, table := range tables {
		fmt.Fprintf(t, "%s\t", table)
		for _, task := range tasks {
			fmt.Fprintf(t, "%s\t", cells[table+" "+task])
		}
		fmt.Fprintf(t, "%.0f\t%s\n", bytes[table], what[table])
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nnanoseconds for a packet more than without a table, median (least–largest) of %d rounds, tables in turn; room for %d flows; Linux %s, %s\n",
		r.Rounds, r.Room, r.Kernel, r.CPU)
	return err
}

// Flowtables compares designs of a flow table by what they cost a packet; see
// flowtables.bpf.c in package bench. It is what `make flowtables` runs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/xlb-io/xlb/internal/bench"
	"github.com/xlb-io/xlb/internal/testlab"
)

func main() { testlab.Main("flowtables", run) }

func run(ctx context.Context, args []string) error {
	o := bench.Defaults()
	flags := flag.NewFlagSet("flowtables", flag.ContinueOnError)
	only := flags.String("only", "", "only these, with commas between: "+strings.Join(bench.FlowTableTasks(), ", "))
	flags.IntVar(&o.Rounds, "rounds", o.Rounds, "measure each so often")
	asJSON := flags.Bool("json", false, "print JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q (see -help)", flags.Arg(0))
	}
	if o.Rounds < 1 || o.Rounds > 1000 {
		return fmt.Errorf("%d rounds (want 1 to 1000)", o.Rounds)
	}
	if *only != "" {
		o.Scenarios = strings.Split(*only, ",")
	}
	report, err := bench.RunFlowTables(ctx, o)
	if err != nil {
		return err
	}
	if *asJSON {
		return testlab.PrintJSON(os.Stdout, report)
	}
	return report.Text(os.Stdout)
}

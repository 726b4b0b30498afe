// Flood measures how many frames a second get through xlb, and through less and
// more; see package flood. It is what `make flood` runs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/xlb-io/xlb/internal/flood"
	"github.com/xlb-io/xlb/internal/testlab"
)

func main() { testlab.Main("flood", run) }

func run(ctx context.Context, args []string) error {
	o := flood.Defaults()
	flags := flag.NewFlagSet("flood", flag.ContinueOnError)
	only := flags.String("only", "", "only these, with commas between: "+strings.Join(flood.Names(), ", "))
	rounds := flags.Int("rounds", o.Rounds, "measure each so often")
	piece := flags.Duration("piece", o.Piece, "measure so long a time")
	quick := flags.Bool("quick", false, "one short round: does it work at all")
	asJSON := flags.Bool("json", false, "print JSON, with what was sent, what arrived and where the rest was lost")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q (see -help)", flags.Arg(0))
	}
	if *quick {
		o = flood.Quick()
	}
	flags.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "rounds":
			o.Rounds = *rounds
		case "piece":
			o.Piece = *piece
		case "only":
			o.Only = strings.Split(*only, ",")
		}
	})
	if o.Rounds < 1 || o.Rounds > 1000 || o.Piece < 10*time.Millisecond || o.Piece > time.Minute {
		return fmt.Errorf("%d rounds of %v (want 1 to 1000, of 10ms to 1m)", o.Rounds, o.Piece)
	}
	o.Progress = func(line string) { fmt.Fprintln(os.Stderr, line) }
	if _, err := testlab.Sweep(); err != nil {
		return err
	}
	report, err := flood.Run(ctx, o)
	if err != nil {
		return err
	}
	if *asJSON {
		return testlab.PrintJSON(os.Stdout, report)
	}
	return report.Text(os.Stdout)
}

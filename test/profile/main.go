// Profile tells where in the data plane's source a packet's time goes; see package
// profile. It is what `make profile` runs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/xlb-io/xlb/internal/bench"
	"github.com/xlb-io/xlb/internal/profile"
	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

func main() { testlab.Main("profile", run) }

func run(ctx context.Context, args []string) error {
	o := bench.Defaults()
	o.Rounds = 100
	forward := model.L2DSR
	flags := flag.NewFlagSet("profile", flag.ContinueOnError)
	flags.TextVar(&forward, "forward", forward, "the forwarding mode")
	scenario := flags.String("scenario", "tcp4-hit-100k", "one of "+strings.Join(bench.Scenarios(), ", "))
	flags.IntVar(&o.Rounds, "rounds", o.Rounds, "of 1048576 packets, 1 to 1000")
	lines := flags.Int("lines", 12, "print so many lines of the source")
	asJSON := flags.Bool("json", false, "print JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q (see -help)", flags.Arg(0))
	}
	if o.Rounds < 1 || o.Rounds > 1000 || *lines < 0 {
		return fmt.Errorf("%d rounds, %d lines (see -help)", o.Rounds, *lines)
	}
	o.Forwards, o.Scenarios = []model.Forward{forward}, []string{*scenario}
	if _, err := testlab.Sweep(); err != nil {
		return err
	}
	report, err := profile.Run(ctx, o)
	if err != nil {
		return err
	}
	if *asJSON {
		return testlab.PrintJSON(os.Stdout, report)
	}
	return report.Text(os.Stdout, *lines)
}

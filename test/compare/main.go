// Compare measures xlb beside other load balancers; see package compare. It is
// what `make compare` runs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/xlb-io/xlb/internal/compare"
	"github.com/xlb-io/xlb/internal/testlab"
)

func main() { testlab.Main("compare", run) }

func run(ctx context.Context, args []string) error {
	o := compare.Defaults()
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	only := flags.String("only", "", "only these, with commas between: "+strings.Join(compare.Names(), ", ")+";\na name up to a dash is all that begin so")
	rounds := flags.Int("rounds", o.Rounds, "measure each so often")
	seconds := flags.Int("seconds", o.Seconds, "length of each of a round's four pieces")
	quick := flags.Bool("quick", false, "one short round: does it work at all")
	binary := flags.String("xlb", o.XLB, "the xlb to measure")
	asJSON := flags.Bool("json", false, "print JSON, with the least and the largest of every figure")
	asMarkdown := flags.Bool("markdown", false, "print Markdown")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q (see -help)", flags.Arg(0))
	}
	if *asJSON && *asMarkdown {
		return errors.New("--json and --markdown: want one of them")
	}
	if *quick {
		o = compare.Quick()
	}
	flags.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "rounds":
			o.Rounds = *rounds
		case "seconds":
			o.Seconds = *seconds
		case "xlb":
			o.XLB = *binary
		case "only":
			o.Only = strings.Split(*only, ",")
		}
	})
	o.Progress = func(line string) { fmt.Fprintln(os.Stderr, line) }
	report, err := compare.Run(ctx, o)
	if err != nil {
		return err
	}
	print := compare.Report.Text
	if *asMarkdown {
		print = compare.Report.Markdown
	}
	if *asJSON {
		print = printJSON
	}
	if err := print(report, os.Stdout); err != nil {
		return err
	}
	if n := len(report.Problems()); n > 0 {
		return fmt.Errorf("%d problems, see above", n)
	}
	return nil
}

func printJSON(r compare.Report, w io.Writer) error { return testlab.PrintJSON(w, r) }

package compare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/xlb-io/xlb/internal/testlab"
)

// dirs are the directories of comparisons, one in each of the parents.
const dirs = testlab.OwnDirs("xlb-compare-")

func ownDirs() []string { return []string{dirs.In(testlab.RunParent), dirs.In(testlab.PinParent)} }

// Options of [Run].
type Options struct {
	// XLB is the path of the xlb to measure.
	XLB string
	// Only are names of balancers, or what they begin with up to a dash:
	// "haproxy" is all of HAProxy's. Empty means all.
	Only []string
	// Rounds is how often each is measured; at least 1.
	Rounds int
	// Seconds is how long each piece of a round lasts, at least 1. There are
	// four: connections, requests, upload, download.
	Seconds int
	// BulkMB, if not 0, ends upload and download after so many megabytes
	// instead of after Seconds: for tests.
	BulkMB int
	// Progress is told of every step; nil tells nobody.
	Progress func(line string)
}

// Defaults are the options of a whole comparison, some ten minutes.
func Defaults() Options { return Options{XLB: "build/xlb", Rounds: 5, Seconds: 2} }

// Quick are the options that show whether it works at all: the figures say
// nothing.
func Quick() Options { return Options{XLB: "build/xlb", Rounds: 1, Seconds: 1, BulkMB: 64} }

// Names are the balancers that can be compared, in order.
func Names() []string {
	var names []string
	for _, r := range rows() {
		names = append(names, r.name)
	}
	return names
}

// Missing are the programs a comparison of these balancers needs and that are
// not installed.
func Missing(only []string) ([]string, error) {
	chosen, err := choose(only)
	if err != nil {
		return nil, err
	}
	need := []string{"nginx", "wrk", "iperf3"} // servers and clients
	for _, r := range chosen {
		need = append(need, r.needs...)
	}
	slices.Sort(need)
	var missing []string
	for _, program := range slices.Compact(need) {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	return missing, nil
}

// choose selects rows by their names.
func choose(only []string) ([]row, error) {
	if len(only) == 0 {
		return rows(), nil
	}
	var chosen []row
	unused := slices.Clone(only)
	for _, r := range rows() {
		for _, name := range only {
			if r.name == name || strings.HasPrefix(r.name, name+"-") {
				unused = slices.DeleteFunc(unused, func(u string) bool { return u == name })
				if len(chosen) == 0 || chosen[len(chosen)-1].name != r.name {
					chosen = append(chosen, r)
				}
			}
		}
	}
	if len(unused) > 0 {
		return nil, fmt.Errorf("no balancer %q (there are %s)", unused[0], strings.Join(Names(), ", "))
	}
	return chosen, nil
}

// Run compares. What went wrong with one balancer is among its Problems, and
// the others go on. The error says why nothing could be compared, or what is
// left behind; it is context.Canceled if ctx was.
//
// Of one process, one comparison may run at a time.
func Run(ctx context.Context, o Options) (report Report, err error) {
	if os.Geteuid() != 0 {
		return report, errors.New("the comparison makes network namespaces and loads BPF programs (run as root)")
	}
	if o.Rounds < 1 || o.Seconds < 1 {
		return report, fmt.Errorf("%d rounds of %d seconds: want at least 1 of each", o.Rounds, o.Seconds)
	}
	chosen, err := choose(o.Only)
	if err != nil {
		return report, err
	}
	missing, err := Missing(o.Only)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("not installed: %s (\"make compare\" installs them on Debian)", strings.Join(missing, ", "))
	}
	if err != nil {
		return report, err
	}
	if err := dirs.Sweep(); err != nil {
		return report, err
	}
	c := &comparison{Options: o}
	defer func() {
		if ctx.Err() != nil {
			err = ctx.Err() // whatever failed, failed by that
		}
		if left := c.close(); left != nil {
			err = fmt.Errorf("the comparison left something behind: %w", left)
		}
	}()
	if err := c.build(ctx, chosen); err != nil {
		return report, err
	}
	for round := range o.Rounds {
		if err := c.round(ctx, round); err != nil {
			return report, err
		}
	}
	return c.report(ctx), nil
}

// comparison is one run.
type comparison struct {
	Options
	sites []*site
}

func (c *comparison) say(format string, args ...any) {
	if c.Progress != nil {
		c.Progress(fmt.Sprintf(format, args...))
	}
}

// build sets everything up before anything is measured: an idle network costs
// the others nothing.
func (c *comparison) build(ctx context.Context, chosen []row) error {
	for _, d := range ownDirs() {
		// The pin directory's parent is the BPF file system, which only xlb
		// mounts where nobody has; it makes the directory then.
		if err := os.Mkdir(d, 0o700); err != nil && d != dirs.In(testlab.PinParent) {
			return err
		}
	}
	for _, r := range chosen {
		c.say("%s: setting up", r.name)
		s := &site{row: r, options: c.Options}
		c.sites = append(c.sites, s)
		if err := s.build(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.problems = append(s.problems, err.Error())
		}
	}
	return nil
}

// round measures every balancer once, each round beginning with another, so that
// none always has the same neighbour.
func (c *comparison) round(ctx context.Context, round int) error {
	for i := range c.sites {
		s := c.sites[(i+round)%len(c.sites)]
		if len(s.problems) > 0 {
			continue
		}
		m, err := s.measure(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			s.problems = append(s.problems, err.Error())
			c.say("round %d of %d, %s: %v", round+1, c.Rounds, s.name, err)
			continue
		}
		s.measured = append(s.measured, m)
		c.say("round %d of %d, %s: %.0f connections/s, %.0f requests/s, %.2f GB/s up, %.2f down",
			round+1, c.Rounds, s.name, m.connections.rate, m.requests.rate, m.upload, m.download)
	}
	return nil
}

func (c *comparison) close() error {
	var errs []error
	for _, s := range slices.Backward(c.sites) {
		errs = append(errs, s.close())
	}
	for _, d := range ownDirs() {
		errs = append(errs, os.RemoveAll(d))
	}
	return errors.Join(errs...)
}

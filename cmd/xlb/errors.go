package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/config"
	"github.com/xlb-io/xlb/pkg/control"
)

// The exit statuses that scripts rely on.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a wrong command line.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// configError is a wrong configuration, told one mistake a line.
type configError struct{ lines string }

func (e *configError) Error() string { return e.lines }

// failf is a failure that needs no further cause.
func failf(format string, args ...any) error { return fmt.Errorf(format, args...) }

// needsRoot says what to do about a refusal of the kernel. To root the kernel
// refuses other things, such as a program that its verifier does not like.
func needsRoot(err error) error {
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		return fmt.Errorf("%w (run as root)", err)
	}
	return err
}

// errSilent is a failure that the command has told in full.
var errSilent = errors.New("")

// exitStatus tells what went wrong and returns the exit status.
func (e *env) exitStatus(ctx context.Context, err error) int {
	var (
		usage    *usageError
		mistakes config.Errors
		wrong    *configError
		policy   *control.PolicyError
		refused  *api.Error
	)
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(e.stderr, "xlb: interrupted")
		return exitFailed
	case errors.Is(err, errSilent):
		return exitFailed
	case errors.As(err, &usage), errors.As(err, &refused) && refused.Status == http.StatusBadRequest:
		fmt.Fprintf(e.stderr, "xlb: %s\n", oneLine(err.Error()))
		return exitUsage
	case errors.As(err, &mistakes):
		// Editors and people find the place by a line that starts with it.
		for _, one := range mistakes {
			fmt.Fprintln(e.stderr, one)
		}
		return exitUsage
	case errors.As(err, &policy):
		for one := range strings.Lines(err.Error()) {
			fmt.Fprintf(e.stderr, "xlb: %s\n", strings.TrimRight(one, "\n"))
		}
		return exitUsage
	case errors.As(err, &wrong):
		fmt.Fprintln(e.stderr, strings.TrimRight(wrong.lines, "\n"))
		return exitUsage
	default:
		fmt.Fprintf(e.stderr, "xlb: %s\n", oneLine(err.Error()))
		return exitFailed
	}
}

// oneLine keeps an error of several lines (as from errors.Join) on one.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

var invalidValue = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-([^: ]+):`)

// onUsageError takes the place of urfave's habit to print the whole help.
func onUsageError(c *cli.Context, err error, _ bool) error {
	text := err.Error()
	// The flag package says: invalid value "x" for flag -limit: parse error,
	// or: invalid boolean value "x" for -json: parse error.
	if m := invalidValue.FindStringSubmatch(text); m != nil {
		value, name := m[1], m[2]
		return usagef("%s is not a valid value for %s (%s)", value, dashes(name), valueHelp(c.Command, name))
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return usagef("%s needs a value (%s)", dashes(name), valueHelp(c.Command, strings.TrimLeft(name, "-")))
	}
	return usagef("%s (see \"%s --help\")", text, c.Command.HelpName)
}

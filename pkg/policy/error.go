package policy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/sys"
)

// Error is what a policy did wrong, and in which hook or function.
type Error struct {
	// Policy is the operator's name for it.
	Policy string
	// Where is a hook, or one of load, start, validate, configure and tables.
	Where string
	Err   error
}

// Error returns `policy "name": where: text`.
func (e *Error) Error() string { return fmt.Sprintf("policy %q: %s: %v", e.Policy, e.Where, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Causes of an [Error] that are not the module's doing.
var (
	// ErrEjected: it failed too often and is not asked for a while.
	ErrEjected = errors.New("ejected after failures in a row")
	// ErrClosed: the policy was closed.
	ErrClosed = errors.New("closed")
)

// wrap makes err an [Error] of p, if it is none yet.
func (p *Policy) wrap(where string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Policy: p.spec.Name, Where: where, Err: err}
}

// trap is a call that did not return. The instance is in no known state after it.
type trap struct{ error }

// Unwrap returns the cause.
func (t trap) Unwrap() error { return t.error }

// late is a call that did not end in time.
type late time.Duration

func (l late) Error() string { return fmt.Sprintf("it did not end within %v", time.Duration(l)) }

// Unwrap returns [context.DeadlineExceeded].
func (late) Unwrap() error { return context.DeadlineExceeded }

// explain turns what wazero says of a failed call into a line. It had the given
// fuel and has fuel left, and had the given time.
func explain(err error, had, left int64, timeout time.Duration) error {
	if left < 0 {
		return trap{fmt.Errorf("out of fuel (%d)", had)}
	}
	if exit, ok := errors.AsType[*sys.ExitError](err); ok {
		switch exit.ExitCode() {
		case sys.ExitCodeDeadlineExceeded:
			return trap{late(timeout.Round(time.Millisecond))}
		case sys.ExitCodeContextCanceled:
			return trap{context.Canceled}
		}
		return trap{fmt.Errorf("it ended itself with exit code %d", exit.ExitCode())}
	}
	text, stack, _ := strings.Cut(err.Error(), "\nwasm stack trace:\n")
	text, _, _ = strings.Cut(text, "\n")
	if _, after, ok := strings.Cut(text, "wasm error: "); ok {
		text = after
	}
	text = strings.TrimSuffix(text, " (recovered by wazero)")
	if f := firstFrame(stack); f != "" {
		text += " in " + f
	}
	return trap{errors.New(printable("trap: "+text, 300))}
}

// firstFrame returns the innermost function of a stack trace that has a name.
func firstFrame(stack string) string {
	for line := range strings.Lines(stack) {
		f, _, _ := strings.Cut(strings.TrimSpace(line), "(")
		f = strings.TrimPrefix(f, ".")
		if f != "" && !strings.HasPrefix(f, "$") && !strings.HasPrefix(f, hostModule+".") && !strings.HasPrefix(f, wasiModule+".") {
			return f
		}
	}
	return ""
}

// printable makes s one line of at most most bytes.
func printable(s string, most int) string {
	if len(s) > most {
		cut := most
		for cut > most-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, strings.TrimRight(s, "\r\n"))
}

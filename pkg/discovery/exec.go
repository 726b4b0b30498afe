package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/xlb-io/xlb/internal/program"
	"github.com/xlb-io/xlb/pkg/model"
)

const (
	// execGrace is how long a program has between SIGTERM and SIGKILL.
	execGrace = 500 * time.Millisecond
	// execHeld is how long after its end somebody who left its group may hold its
	// output.
	execHeld = time.Second
)

// execSource runs a program of the operator's, whose output is a document in
// JSON, or, if it is kept running, one a line.
type execSource struct {
	name string
	exec model.ExecSource
	base model.Backend
}

func newExec(s model.Source) Source {
	return &execSource{name: s.Name, exec: s.Exec, base: s.Backend}
}

func (e *execSource) String() string { return strings.Join(e.exec.Command, " ") }

func (e *execSource) Run(ctx context.Context, emit Emit) error {
	if e.exec.Interval == 0 {
		return e.keepRunning(ctx, emit)
	}
	for {
		begin := time.Now()
		if err := e.once(ctx, emit); err != nil {
			return err
		}
		if err := pause(ctx, time.Until(begin.Add(e.exec.Interval))); err != nil {
			return err
		}
	}
}

// once runs the program until it ends by itself.
func (e *execSource) once(ctx context.Context, emit Emit) error {
	ctx, cancel := context.WithTimeoutCause(ctx, e.exec.Timeout, fmt.Errorf("still running after %s, so it was killed", e.exec.Timeout))
	defer cancel()
	var data []byte
	err := e.run(ctx, func(piece []byte) error {
		if len(data)+len(piece) > maxDocument {
			return errTooMuch
		}
		data = append(data, piece...)
		return nil
	})
	if err != nil {
		return err
	}
	return e.answer("standard output", data, emit)
}

// keepRunning runs the program and takes each line for a document.
func (e *execSource) keepRunning(ctx context.Context, emit Emit) error {
	var line []byte
	n := 1
	err := e.run(ctx, func(piece []byte) error {
		for ended := true; len(piece) > 0; {
			var more []byte
			more, piece, ended = bytes.Cut(piece, []byte("\n"))
			if len(line)+len(more) > maxDocument {
				return errTooMuch
			}
			line = append(line, more...)
			if !ended {
				return nil
			}
			if len(bytes.TrimSpace(line)) > 0 {
				if err := e.answer(fmt.Sprintf("line %d of standard output", n), line, emit); err != nil {
					return err
				}
			}
			line, n = line[:0], n+1
		}
		return nil
	})
	if err == nil {
		err = errors.New("the program ended, but it should keep running")
	}
	return err
}

var errTooMuch = errors.New("the document is larger than 16 MiB")

// output is a writer that may refuse.
type output func(piece []byte) error

func (o output) Write(piece []byte) (int, error) { return len(piece), o(piece) }

// run runs the program and gives what it prints to take, whose error ends it. The
// error has the end of what the program wrote to standard error.
func (e *execSource) run(ctx context.Context, take output) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var stderr program.Tail
	err := program.Program{
		Command: e.exec.Command, Env: append(os.Environ(), "XLB_SOURCE="+e.name), Stderr: &stderr, Grace: execGrace, Held: execHeld,
		Stdout: output(func(piece []byte) error {
			err := take(piece)
			if err != nil {
				cancel(err)
			}
			return err
		}),
	}.Run(ctx)
	if errors.Is(err, program.ErrHeld) {
		err = errors.New("the program ended, but somebody it started holds its output")
	}
	return stderr.Explain(err)
}

func (e *execSource) answer(name string, data []byte, emit Emit) error {
	backends, warnings, err := parseDocument(name, data, false, e.base)
	if err != nil {
		return err
	}
	emit(backends, warnings...)
	return nil
}

package discovery

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
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
		select {
		case <-time.After(time.Until(begin.Add(e.exec.Interval))):
		case <-ctx.Done():
			return nil
		}
	}
}

// once runs the program until it ends by itself.
func (e *execSource) once(ctx context.Context, emit Emit) error {
	ctx, cancel := context.WithTimeoutCause(ctx, e.exec.Timeout, fmt.Errorf("still running after %s, so it was killed", e.exec.Timeout))
	defer cancel()
	var data []byte
	err := runProgram(ctx, e.exec.Command, e.environment(), func(stdout io.Reader) (err error) {
		data, err = io.ReadAll(io.LimitReader(stdout, maxDocument+1))
		if len(data) > maxDocument {
			return errTooMuch
		}
		return err
	})
	if err != nil {
		return err
	}
	return e.answer("standard output", data, emit)
}

// keepRunning runs the program and takes each line for a document.
func (e *execSource) keepRunning(ctx context.Context, emit Emit) error {
	err := runProgram(ctx, e.exec.Command, e.environment(), func(stdout io.Reader) error {
		lines := bufio.NewScanner(stdout)
		lines.Buffer(nil, maxDocument)
		for n := 1; lines.Scan(); n++ {
			if len(bytes.TrimSpace(lines.Bytes())) == 0 {
				continue
			}
			if err := e.answer(fmt.Sprintf("line %d of standard output", n), lines.Bytes(), emit); err != nil {
				return err
			}
		}
		if errors.Is(lines.Err(), bufio.ErrTooLong) {
			return errTooMuch
		}
		return lines.Err()
	})
	if err == nil {
		err = errors.New("the program ended, but it should keep running")
	}
	return err
}

var errTooMuch = errors.New("the document is larger than 16 MiB")

func (e *execSource) answer(name string, data []byte, emit Emit) error {
	backends, warnings, err := parseDocument(name, data, false, e.base)
	if err != nil {
		return err
	}
	emit(backends, warnings...)
	return nil
}

// environment tells the program which source it is.
func (e *execSource) environment() []string { return []string{"XLB_SOURCE=" + e.name} }

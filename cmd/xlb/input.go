package main

import (
	"context"
	"io"
)

// input is standard input for as long as ctx lasts: Ctrl-C must end a command
// that waits for what nobody types.
func (e *env) input(ctx context.Context) io.Reader { return &interruptible{ctx, e.stdin} }

type interruptible struct {
	ctx context.Context
	in  io.Reader
}

func (r *interruptible) Read(p []byte) (int, error) {
	type outcome struct {
		n   int
		err error
	}
	// A read that is given up may still fill its buffer.
	buffer := make([]byte, len(p))
	done := make(chan outcome, 1)
	go func() {
		n, err := r.in.Read(buffer)
		done <- outcome{n, err}
	}()
	select {
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	case o := <-done:
		return copy(p, buffer[:o.n]), o.err
	}
}

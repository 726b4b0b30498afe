package main

import (
	"context"
	"io"
	"strings"
	"testing"
)

// asked is an input that nobody types into. It ends the command, as Ctrl-C
// does, once it is read.
type asked struct {
	io.Reader
	interrupt context.CancelFunc
}

func (a asked) Read(p []byte) (int, error) {
	a.interrupt()
	return a.Reader.Read(p)
}

func TestInterruptWhileReading(t *testing.T) {
	noDaemon(t)
	for _, args := range []string{"check -", "plan -c -", "map load backends - --yes"} {
		t.Run(args, func(t *testing.T) {
			in, w := io.Pipe()
			defer w.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			xlbIn(t, ctx, env{stdin: asked{in, cancel}}, strings.Fields(args)...).fails(t, exitFailed, "xlb: interrupted")
		})
	}
}

func TestInterruptStopsTheStream(t *testing.T) {
	s := newSample()
	s.manyFlows(20000)
	s.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := &screen{marker: "\n", times: 1, stop: cancel}
	xlbIn(t, ctx, env{stdout: out}, "flows", "--json").fails(t, exitFailed, "xlb: interrupted")
	if n := len(lines(out.buf.String())); n > 10 {
		t.Errorf("%d flows were printed after the interrupt", n)
	}
}

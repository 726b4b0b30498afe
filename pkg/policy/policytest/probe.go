package policytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

type rawProbe struct {
	Timeout *text[duration, *duration] `yaml:"timeout"`
	Script  []rawStep                  `yaml:"script"`
}

// rawStep is one thing that the server does.
type rawStep struct {
	at ast.Node

	Expect *string                    `yaml:"expect"`
	Send   *string                    `yaml:"send"`
	Wait   *text[duration, *duration] `yaml:"wait"`
	Close  bool                       `yaml:"close"`
}

// UnmarshalYAML implements [yaml.NodeUnmarshaler].
func (s *rawStep) UnmarshalYAML(n ast.Node) error {
	type plain rawStep
	s.at = n
	return yaml.NodeToValue(n, (*plain)(s), yaml.Strict())
}

type probeQuestion struct {
	script []rawStep
	want   probeWant
}

type probeWant struct {
	State  *string `yaml:"state"`
	Role   *string `yaml:"role"`
	Reason *string `yaml:"reason"`
	Error  *string `yaml:"error"`
}

// The states of a probe's answer.
const (
	healthy   = "healthy"
	unhealthy = "unhealthy"
)

func (p *rawProbe) question(want *rawWant) (question, error) {
	q := &probeQuestion{script: p.Script}
	for _, s := range p.Script {
		given := 0
		for _, is := range []bool{s.Expect != nil, s.Send != nil, s.Wait != nil, s.Close} {
			if is {
				given++
			}
		}
		if given != 1 {
			return nil, wrong(s.at, "a step of the script is one of expect, send, wait and close: true")
		}
	}
	if err := want.into(&q.want); err != nil {
		return nil, err
	}
	switch state := q.want.State; {
	case state == nil && q.want.Error == nil:
		return nil, wrong(want.node, "want of a probe names a state or an error")
	case state != nil && *state != healthy && *state != unhealthy:
		return nil, wrong(want.node, "state is %q (want %s or %s)", *state, healthy, unhealthy)
	}
	return q, nil
}

func (q *probeQuestion) ask(ctx context.Context, s *subject) (differences []string) {
	server, err := listen(ctx, q.script)
	if err != nil {
		return []string{err.Error()}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", server.address())
	if err != nil {
		return append(server.stop(), err.Error())
	}
	got, err := s.policy.Probe(ctx, conn)
	conn.Close()
	differences = server.stop()
	more, ok := failure(err, q.want.Error)
	differences = append(differences, more...)
	if !ok {
		return differences
	}
	state := unhealthy
	if got.Healthy {
		state = healthy
	}
	compare(&differences, "state", state, q.want.State)
	compare(&differences, "role", got.Role, q.want.Role)
	compare(&differences, "reason", got.Reason, q.want.Reason)
	return differences
}

// server follows a script with the first client that connects.
type server struct {
	listener net.Listener
	cancel   context.CancelFunc
	done     chan error
}

func listen(ctx context.Context, script []rawStep) (*server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("there is no server for the probe: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &server{listener: listener, cancel: cancel, done: make(chan error, 1)}
	go func() { s.done <- s.serve(ctx, script) }()
	return s, nil
}

func (s *server) address() string { return s.listener.Addr().String() }

// stop ends the server and returns what the client did not do.
func (s *server) stop() (differences []string) {
	s.cancel()
	s.listener.Close()
	if err := <-s.done; err != nil {
		return []string{err.Error()}
	}
	return nil
}

func (s *server) serve(ctx context.Context, script []rawStep) error {
	conn, err := s.listener.Accept()
	if err != nil {
		return fmt.Errorf("nobody connected: %w", err)
	}
	defer conn.Close()
	for i, step := range script {
		if err := step.do(ctx, conn); err != nil {
			return fmt.Errorf("step %d of the script: %w", i+1, err)
		}
	}
	// The client sees no end before it has its answer.
	io.Copy(io.Discard, conn)
	return nil
}

// do takes a step. The client's going away is a mistake only if it had still
// something to say: it ends its connection when it knows enough.
func (s *rawStep) do(ctx context.Context, conn net.Conn) error {
	switch {
	case s.Send != nil:
		_, _ = io.WriteString(conn, *s.Send)
	case s.Wait != nil:
		select {
		case <-time.After(time.Duration(s.Wait.v)):
		case <-ctx.Done():
		}
	case s.Close:
		conn.Close()
	case s.Expect != nil:
		got := make([]byte, len(*s.Expect))
		n, err := io.ReadFull(conn, got)
		if string(got[:n]) == *s.Expect {
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("the policy wrote %q, want %q: %w", got[:n], *s.Expect, err)
		}
		return fmt.Errorf("the policy wrote %q, want %q", got[:n], *s.Expect)
	}
	return nil
}

package policy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// ProbeResult is a policy's word on a backend.
type ProbeResult struct {
	Healthy bool
	// Role is what it says the backend is, Reason why; at most 64 bytes each.
	Role, Reason string
}

const (
	// maxProbes run at the same time, of which as many instances stay as maxIdle.
	maxProbes = 64
	maxIdle   = 8
	maxLabel  = 64
)

// probePool holds instances between probes.
type probePool struct {
	places chan struct{}
	mu     sync.Mutex
	idle   []*instance
	closed bool
}

func (o *probePool) take() *instance {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.idle) == 0 {
		return nil
	}
	in := o.idle[len(o.idle)-1]
	o.idle = o.idle[:len(o.idle)-1]
	return in
}

// put keeps in for later, or says that it is not wanted.
func (o *probePool) put(in *instance) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || len(o.idle) >= maxIdle {
		return false
	}
	o.idle = append(o.idle, in)
	return true
}

// drain takes all, and lets none come back.
func (o *probePool) drain() []*instance {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	idle := o.idle
	o.idle = nil
	return idle
}

// probeCall is what the host's functions see of a probe.
type probeCall struct {
	conn         net.Conn
	reason, role string
}

// Probe asks whether the backend at the other end of conn is alive. It ends with
// ctx, or after the policy's timeout; conn's deadline is set. The caller closes conn.
// An error is the policy's, not the backend's. Probes run at the same time, up to 64
// of a policy.
func (p *Policy) Probe(ctx context.Context, conn net.Conn) (result ProbeResult, err error) {
	err = p.guardedCall(ctx, HookProbe, func(ctx context.Context) error {
		select {
		case p.probes.places <- struct{}{}:
			defer func() { <-p.probes.places }()
		case <-ctx.Done():
			// It never began: too many others are running.
			return trap{context.Canceled}
		}
		ctx, cancel := p.within(ctx)
		defer cancel()
		result, err = p.probe(ctx, conn)
		return err
	})
	return result, err
}

func (p *Policy) probe(ctx context.Context, conn net.Conn) (ProbeResult, error) {
	in := p.probes.take()
	c := p.config.Load()
	if in == nil {
		var err error
		if in, err = p.start(ctx, true, c); err != nil {
			return ProbeResult{}, err
		}
	}
	result, err := in.askProbe(ctx, c, conn)
	if broken(err) || !p.probes.put(in) {
		in.close()
	}
	return result, err
}

// askProbe probes one backend.
func (in *instance) askProbe(ctx context.Context, c *configuration, conn net.Conn) (ProbeResult, error) {
	if err := in.configure(ctx, c); err != nil {
		return ProbeResult{}, trap{in.p.wrap("configure", err)}
	}
	end, _ := ctx.Deadline() // within gave it one
	left := time.Until(end)
	// The connection's time ends first, so that the module can say so itself.
	conn.SetDeadline(time.Now().Add(left * 9 / 10))
	unblock := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer unblock()
	in.probe = &probeCall{conn: conn}
	defer func() { in.probe = nil }()
	state, err := in.call(ctx, string(HookProbe), uint64(left.Milliseconds()))
	if err != nil {
		return ProbeResult{}, err
	}
	in.look()
	if state > 1 {
		return ProbeResult{}, fmt.Errorf("state %d, of 0 (healthy) and 1", uint32(state))
	}
	return ProbeResult{Healthy: state == 0, Role: in.probe.role, Reason: in.probe.reason}, nil
}

// connFailed is what conn_read and conn_write return for an error.
const connFailed = uint64(0xffffffff)

func hostRead(in *instance, stack []uint64) {
	b := in.argument("conn_read", stack[0], stack[1])
	if in.probe == nil || len(b) == 0 {
		stack[0] = connFailed
		return
	}
	n, err := in.probe.conn.Read(b)
	stack[0] = uint64(n)
	if n == 0 && err != nil && !errors.Is(err, io.EOF) {
		stack[0] = connFailed
	}
}

func hostWrite(in *instance, stack []uint64) {
	b := in.argument("conn_write", stack[0], stack[1])
	if in.probe == nil {
		stack[0] = connFailed
		return
	}
	n, err := in.probe.conn.Write(b)
	stack[0] = uint64(n)
	if err != nil {
		stack[0] = connFailed
	}
}

func hostReason(in *instance, stack []uint64) {
	text := in.label("set_reason", stack)
	if in.probe != nil {
		in.probe.reason = text
	}
}

func hostRole(in *instance, stack []uint64) {
	text := in.label("set_role", stack)
	if in.probe != nil {
		in.probe.role = text
	}
}

// label is a short text; a longer one is cut.
func (in *instance) label(function string, stack []uint64) string {
	b := in.argument(function, stack[0], stack[1])
	return printable(string(b[:min(len(b), maxLabel+1)]), maxLabel)
}

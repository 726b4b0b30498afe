package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// talk is what is said and what is expected, ready to be compared.
type talk struct {
	send    []byte
	expect  []byte
	pattern *regexp.Regexp
}

func newTalk(t Target) (talk, error) {
	p := t.Probe.Talk
	of := talk{send: []byte(fill(p.Send, t)), expect: []byte(p.Expect)}
	if p.Pattern != "" {
		pattern, err := regexp.Compile(p.Pattern)
		if err != nil {
			return talk{}, errors.New(shorten("expect: " + err.Error()))
		}
		of.pattern = pattern
	}
	return of, nil
}

// any tells that every answer will do.
func (t talk) any() bool { return len(t.expect) == 0 && t.pattern == nil }

// in looks for what is expected.
func (t talk) in(r io.Reader) (bool, error) {
	if t.pattern != nil {
		return matches(r, t.pattern)
	}
	return contains(r, t.expect)
}

// missing is the reason of an answer without what is expected.
func (t talk) missing() error {
	if t.pattern != nil {
		return errors.New(shorten(fmt.Sprintf("the answer does not match %q", t.pattern)))
	}
	return errors.New(shorten(fmt.Sprintf("the answer does not contain %q", t.expect)))
}

// sendExpectCheck passes if the backend, over TCP or TLS, says what is expected.
type sendExpectCheck struct {
	connector
	talk     talk
	security security
}

func newSendExpectCheck(c connector, t Target, s security) checker {
	talk, err := newTalk(t)
	if err != nil {
		return failing{err}
	}
	return sendExpectCheck{c, talk, s}
}

func (c sendExpectCheck) check(ctx context.Context) (role string, err error) {
	raw, done, err := c.connect(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	conn, err := c.secure(ctx, raw, c.security)
	if err != nil {
		return "", err
	}
	if len(c.talk.send) > 0 {
		if _, err := conn.Write(c.talk.send); err != nil {
			return "", c.reason(ctx, phaseSend, err)
		}
	}
	found, err := c.talk.in(conn)
	if err != nil {
		return "", c.reason(ctx, phaseExpect, err)
	}
	if !found {
		return "", c.talk.missing()
	}
	return "", nil
}

// udpCheck sends one datagram. With an expectation, the first one that comes back
// decides. Without, any will do, and so does silence until the timeout, for many
// protocols answer nothing: then the host is alive as far as one can tell, unless
// it says by ICMP that nobody is at that port.
type udpCheck struct {
	connector
	talk talk
}

func newUDPCheck(c connector, t Target) checker {
	talk, err := newTalk(t)
	if err != nil {
		return failing{err}
	}
	return udpCheck{c, talk}
}

func (c udpCheck) check(ctx context.Context) (role string, err error) {
	conn, done, err := c.open(ctx, "udp")
	if err != nil {
		return "", err
	}
	defer done()
	if _, err := conn.Write(c.talk.send); err != nil {
		return "", c.reason(ctx, phaseSend, err)
	}
	buf := make([]byte, maxAnswer)
	n, err := conn.Read(buf)
	switch {
	case c.talk.any() && err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "", nil
	case err != nil:
		return "", c.reason(ctx, phaseExpect, err)
	case c.talk.any():
		return "", nil
	}
	found, err := c.talk.in(strings.NewReader(string(buf[:n])))
	if err != nil {
		return "", c.reason(ctx, phaseExpect, err)
	}
	if !found {
		return "", c.talk.missing()
	}
	return "", nil
}

package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"unicode/utf8"
)

// phase is what a check is doing. Its values complete the sentence "timeout
// while …".
type phase string

const (
	phaseConnect phase = "connecting"
	phaseTLS     phase = "negotiating TLS"
	phaseSend    phase = "sending the request"
	phaseHeader  phase = "waiting for the response"
	phaseBody    phase = "reading the body"
	phasePolicy  phase = "the policy asks"
	phaseGreet   phase = "waiting for the greeting"
	phaseLogin   phase = "logging in"
	phaseExpect  phase = "waiting for the expected answer"
	phaseProgram phase = "the program runs"
)

// maxReason bounds the text that a backend can put into a reason, in bytes.
const maxReason = 200

// reason says in an operator's words how err, met in a phase, failed the check.
// The text depends on what went wrong only, not on ports or durations of this
// attempt, so that the same failure is not reported anew each time.
func (c connector) reason(ctx context.Context, p phase, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("timeout after %s while %s", c.timeout, p)
	}
	switch p {
	case phaseConnect:
		for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS} {
			if errors.Is(err, errno) {
				return fmt.Errorf("%w, this host is out of resources: %w", errLocal, errno)
			}
		}
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			return fmt.Errorf("%w, this host has no free port, or no longer the source address", errLocal)
		}
		if errors.Is(err, errMark) {
			return fmt.Errorf("%w, %w", errLocal, err)
		}
		return errors.New(shorten("connect: " + innermost(err)))
	case phaseTLS:
		return errors.New(shorten(tlsReason(err)))
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("connection closed by the backend while %s", p)
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("the port is unreachable, says ICMP") // of a connected UDP socket
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("connection reset by the backend while %s", p)
	}
	return errors.New(shorten(fmt.Sprintf("%s: %s", p, innermost(err))))
}

// innermost returns the text of the error at the end of err's chain when that
// is the system's ("connection refused"), and otherwise err's own, without the
// "dial tcp 10.0.0.1:80" that names what the operator sees beside it.
func innermost(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op.Err.Error()
	}
	return err.Error()
}

// tlsReason gives errors of a handshake exactly one "tls: " in front.
func tlsReason(err error) string {
	if text := certificateReason(err); text != "" {
		return "tls: " + text
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "tls: the answer is not TLS (does this port speak without TLS?)"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "tls: connection closed by the backend"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return "tls: the backend refused: " + strings.TrimPrefix(op.Err.Error(), "tls: ")
	}
	return "tls: " + strings.TrimPrefix(innermost(err), "tls: ")
}

// shorten cuts s to maxReason bytes and makes it one printable line.
func shorten(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
	if len(s) <= maxReason {
		return s
	}
	cut := maxReason
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// isTLS tells whether err is of a TLS handshake that a library did.
func isTLS(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

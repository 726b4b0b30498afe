package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// connector opens the connections of one target's checks.
type connector struct {
	dial    DialFunc
	addr    netip.AddrPort
	timeout time.Duration // for the text of reasons; ctx enforces it
}

// connect opens a TCP connection on which every operation fails once ctx ends.
// The caller calls done, which closes it.
func (c connector) connect(ctx context.Context) (conn net.Conn, done func(), err error) {
	return c.open(ctx, "tcp")
}

// open is connect for any network that [Via.dial] knows.
func (c connector) open(ctx context.Context, network string) (conn net.Conn, done func(), err error) {
	conn, err = c.dial(ctx, network, c.addr.String())
	if err != nil {
		return nil, nil, c.reason(ctx, phaseConnect, err)
	}
	abortive(conn) // at once, for libraries close what they are given
	// A deadline in the past wakes whoever reads or writes. It covers both the
	// timeout and the removal of the target.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() { stop(); conn.Close() }, nil
}

// session opens a connection, with TLS if that is asked for, of one who logs in
// with secret. The caller calls done, as of connect.
func (c connector) session(ctx context.Context, l model.Login, s security) (conn net.Conn, secret string, done func(), err error) {
	if secret, err = password(l); err != nil {
		return nil, "", nil, err
	}
	raw, done, err := c.connect(ctx)
	if err != nil {
		return nil, "", nil, err
	}
	if conn, err = c.secure(ctx, raw, s); err != nil {
		done()
		return nil, "", nil, err
	}
	return conn, secret, done, nil
}

// abortive makes conn close by a RST instead of a FIN. The side that sends the
// first FIN keeps the port in TIME_WAIT for a minute: thousands of targets probed
// each second would hold tens of thousands of sockets, and ports that `nat`
// shares with this host. The price is that a server which is still reading
// sees "connection reset by peer" where it would see the end of the stream;
// some write a line into their log for it.
func abortive(conn net.Conn) {
	if c, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		c.SetLinger(0) // fails on a dead connection only, which leaves nothing to linger
	}
}

// host is whom a check of a protocol without host names speaks to.
func (c connector) host() string { return plain(c.addr.Addr()) }

// errOnce is what a library is told that dials more than it was given.
var errOnce = errors.New("a check has one connection")

// once is a dialer for a library that wants to open its connection itself: it
// hands out conn, and nothing after it.
func once(conn net.Conn) DialFunc {
	given := false
	return func(context.Context, string, string) (net.Conn, error) {
		if given {
			return nil, errOnce
		}
		given = true
		return conn, nil
	}
}

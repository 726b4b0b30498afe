package probe

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// connector opens the connections of one target's checks.
type connector struct {
	dial    DialFunc
	addr    netip.AddrPort
	timeout time.Duration // for the text of reasons; ctx enforces it
}

// connect opens a connection on which every operation fails once ctx ends.
// The caller calls done, which closes it.
func (c connector) connect(ctx context.Context) (conn net.Conn, done func(), err error) {
	conn, err = c.dial(ctx, "tcp", c.addr.String())
	if err != nil {
		return nil, nil, c.reason(ctx, phaseConnect, err)
	}
	// A deadline in the past wakes whoever reads or writes. It covers both the
	// timeout and the removal of the target.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() { stop(); reset(conn) }, nil
}

// reset closes conn by a RST instead of a FIN. The side that sends the first
// FIN keeps the port in TIME_WAIT for a minute: thousands of targets probed
// each second would hold tens of thousands of sockets, and ports that `nat`
// shares with this host. The price is that a server which is still reading
// sees "connection reset by peer" where it would see the end of the stream;
// some write a line into their log for it.
func reset(conn net.Conn) {
	if c, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		c.SetLinger(0) // fails on a dead connection only, which leaves nothing to linger
	}
	conn.Close()
}

package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Via is the way of a probe that travels as the traffic does: to the VIP, and by
// its mark to one backend. The zero value is the direct way. Needs
// CAP_NET_ADMIN.
type Via struct {
	// VIP is whom the connection is to.
	VIP netip.AddrPort
	// Source is an address of this host, of the VIP's family.
	Source netip.Addr
	// Mark is the socket's.
	Mark uint32
	// Problem, if not empty, is why there is no such way; then nothing is sent,
	// and the backend's state stays as it is.
	Problem string
}

func (v Via) direct() bool { return v == Via{} }

// maxSegment lets the packets of a probe, which the kernel makes as large as lo
// allows, pass with outer headers wherever IPv6 may run: 1280 bytes less 48 of
// outer headers and 60 of IPv6 and TCP.
const maxSegment = 1280 - 48 - 60

// errMark is wrapped by the error of a socket that cannot be marked.
var errMark = errors.New("cannot mark the socket")

// dial is a [DialFunc] for the networks tcp, udp and [icmpNetwork].
func (v Via) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if network == icmpNetwork {
		return dialICMP(address)
	}
	// A probe ends long before the first keep-alive would be sent.
	d := net.Dialer{KeepAlive: -1}
	if !v.direct() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(v.Source, 0))
		if network == "udp" {
			d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(v.Source, 0))
		}
		d.Control = func(_, _ string, c syscall.RawConn) error {
			var err error
			if e := c.Control(func(fd uintptr) { err = v.prepare(int(fd), network) }); e != nil {
				return e
			}
			return err
		}
	}
	return d.DialContext(ctx, network, address)
}

// prepare is called before the socket is bound.
func (v Via) prepare(fd int, network string) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(v.Mark)); err != nil {
		return fmt.Errorf("%w: %w", errMark, err)
	}
	// Ports are then chosen per destination, so that many sockets can share one.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return fmt.Errorf("set IP_BIND_ADDRESS_NO_PORT: %w", err)
	}
	if network != "tcp" {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, maxSegment); err != nil {
		return fmt.Errorf("set TCP_MAXSEG: %w", err)
	}
	return nil
}

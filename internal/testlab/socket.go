package testlab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Listen opens a TCP listener inside the namespace. The address is one of
// package net's with a literal IP address, or none for all of both families.
func (n *Namespace) Listen(network, address string) (l net.Listener, err error) {
	var lc net.ListenConfig
	// Plain TCP, which is what the data plane is to be tested with.
	lc.SetMultipathTCP(false)
	err = n.Do(func() error {
		l, err = lc.Listen(context.Background(), network, address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", n.Name, err)
	}
	return l, nil
}

// ListenPacket opens a UDP socket inside the namespace; addresses as for
// Listen.
func (n *Namespace) ListenPacket(network, address string) (c net.PacketConn, err error) {
	err = n.Do(func() error {
		c, err = net.ListenPacket(network, address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", n.Name, err)
	}
	return c, nil
}

// Dial connects from inside the namespace to a literal address such as
// "192.0.2.10:80" or "[2001:db8::10]:80". The network is "tcp" or "udp",
// with or without 4 or 6.
//
// No thread waits in the namespace for the connection, so thousands may be
// under way at once.
func (n *Namespace) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial from namespace %s: %w (there is no name resolution here)", n.Name, err)
	}
	return n.DialFrom(ctx, network, netip.AddrPort{}, to)
}

// DialFrom is Dial from a given local address. The zero AddrPort leaves the
// choice to the kernel, and so does port 0.
func (n *Namespace) DialFrom(ctx context.Context, network string, from, to netip.AddrPort) (net.Conn, error) {
	conn, err := n.dial(ctx, network, from, to)
	if err != nil {
		return nil, fmt.Errorf("dial %s %s from namespace %s: %w", network, to, n.Name, err)
	}
	return conn, nil
}

func (n *Namespace) dial(ctx context.Context, network string, from, to netip.AddrPort) (net.Conn, error) {
	kind := unix.SOCK_STREAM
	switch strings.TrimRight(network, "46") {
	case "tcp":
	case "udp":
		kind = unix.SOCK_DGRAM
	default:
		return nil, net.UnknownNetworkError(network)
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	family := unix.AF_INET
	if to.Addr().Is6() {
		family = unix.AF_INET6
	}
	var fd int
	err := n.Do(func() (err error) {
		fd, err = unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return nil, err
	}
	if from.IsValid() {
		if err := bind(fd, family, from); err != nil {
			unix.Close(fd)
			return nil, err
		}
	}
	f := os.NewFile(uintptr(fd), "dial")
	defer f.Close()
	if err := connect(ctx, f, sockaddr(to)); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

func bind(fd, family int, from netip.AddrPort) error {
	if from.Addr().Is6() != (family == unix.AF_INET6) {
		return fmt.Errorf("source %s is of the other address family", from)
	}
	if from.Port() != 0 {
		// The port may still be in TIME_WAIT from an earlier connection.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sockaddr(from)))
}

// connect asks again each time the socket reports an event: the kernel then
// says how the attempt stands.
func connect(ctx context.Context, f *os.File, to unix.Sockaddr) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var connErr error
	err = underContext(ctx, f.SetDeadline, func() error {
		return raw.Write(func(fd uintptr) bool {
			connErr = unix.Connect(int(fd), to)
			switch connErr {
			case unix.EINPROGRESS, unix.EALREADY, unix.EINTR:
				return false
			case unix.EISCONN:
				connErr = nil
			}
			return true
		})
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("connect", connErr)
}

// underContext runs input or output that obeys a deadline, and ends it with
// the context's error when the context is done. Afterwards no deadline is set.
func underContext(ctx context.Context, setDeadline func(time.Time) error, fn func() error) error {
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = setDeadline(time.Unix(1, 0))
		close(fired)
	})
	err := fn()
	if stop() {
		return err
	}
	// It has set the deadline or is about to, which must not hit a later call.
	<-fired
	_ = setDeadline(time.Time{})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ctx.Err()
	}
	return err
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

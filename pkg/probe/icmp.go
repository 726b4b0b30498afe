package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// icmpNetwork is the name by which a check asks a [DialFunc] for a socket that
// sends and receives ICMP messages, without IP headers, to one host.
const icmpNetwork = "icmp"

// dialICMP opens a ping socket, which needs no privilege where
// net.ipv4.ping_group_range allows our group, and to which the kernel gives the
// answers to its own requests alone. Else it opens a raw one, which needs
// CAP_NET_RAW and sees every ICMP message of that host.
func dialICMP(address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	conn, err := openICMP(to, unix.SOCK_DGRAM)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		conn, err = openICMP(to, unix.SOCK_RAW)
	}
	return conn, err
}

func openICMP(to netip.AddrPort, kind int) (net.Conn, error) {
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	var peer unix.Sockaddr
	if addr := to.Addr().Unmap(); addr.Is4() {
		peer = &unix.SockaddrInet4{Addr: addr.As4()}
	} else {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
		zone := uint32(0)
		if i, err := net.InterfaceByName(addr.Zone()); err == nil {
			zone = uint32(i.Index)
		}
		peer = &unix.SockaddrInet6{Addr: addr.As16(), ZoneId: zone}
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "icmp")
	defer f.Close() // FileConn has its own
	if err := unix.Connect(fd, peer); err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	return net.FileConn(f)
}

// icmpCheck passes if the host answers an echo request.
type icmpCheck struct{ connector }

func (c icmpCheck) check(ctx context.Context) (role string, err error) {
	conn, done, err := c.open(ctx, icmpNetwork)
	if err != nil {
		return "", err
	}
	defer done()
	// The payload is what the answer is known by: a ping socket has an identifier
	// of the kernel's own.
	token := binary.BigEndian.AppendUint64([]byte("xlb-probe"), rand.Uint64())
	request := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: rand.IntN(1 << 16), Seq: 1, Data: token}}
	number := unix.IPPROTO_ICMP
	if !c.addr.Addr().Unmap().Is4() {
		request.Type, number = ipv6.ICMPTypeEchoRequest, unix.IPPROTO_ICMPV6
	}
	packet, err := request.Marshal(nil) // of ICMPv6 the kernel fills in the checksum
	if err != nil {
		return "", errors.New(shorten("icmp: " + err.Error()))
	}
	if _, err := conn.Write(packet); err != nil {
		return "", c.reason(ctx, phaseSend, err)
	}
	buf := make([]byte, 1500)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return "", c.reason(ctx, phaseHeader, err)
		}
		if answers(buf[:n], number, token) {
			return "", nil
		}
	}
}

// answers tells whether a message is the reply that bears token. Of IPv4 a raw
// socket gives the IP header too.
func answers(packet []byte, number int, token []byte) bool {
	if number == unix.IPPROTO_ICMP && len(packet) > 0 && packet[0]>>4 == ipv4.Version {
		h, err := ipv4.ParseHeader(packet)
		if err != nil {
			return false
		}
		packet = packet[h.Len:]
	}
	m, err := icmp.ParseMessage(number, packet)
	if err != nil || m.Type != ipv4.ICMPTypeEchoReply && m.Type != ipv6.ICMPTypeEchoReply {
		return false
	}
	echo, ok := m.Body.(*icmp.Echo)
	return ok && string(echo.Data) == string(token)
}

package testlab

import (
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// wantDestination asks the kernel to tell the destination address of each
// datagram. A socket for all addresses would otherwise answer from the address
// of the outgoing interface, not from the VIP it was asked at.
func wantDestination(conn *net.UDPConn, v6 bool) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
	if v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	var optErr error
	if err := raw.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), level, option, 1)
	}); err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt", optErr)
}

// answerFrom turns the control message of a received datagram into that of
// its answer: from the address it was sent to, over whichever interface the
// route says. It returns nil if the datagram came without.
func answerFrom(oob []byte) []byte {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&m.Data[0]))
			return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: info.Addr})
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&m.Data[0]))
			return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: info.Addr})
		}
	}
	return nil
}

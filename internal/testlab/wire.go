package testlab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Wire sends and receives whole Ethernet frames on a link.
type Wire struct {
	file *os.File
	buf  []byte
	sent bool // and not what arrives
}

// SentWire opens a link for the frames that its own host sends on it: from now on
// they are kept for Next.
func (n *Namespace) SentWire(link string) (*Wire, error) {
	w, err := n.Wire(link)
	if err != nil {
		return nil, err
	}
	w.sent = true
	// Whoever looks at what a test sent reads it afterwards.
	raw, err := w.file.SyscallConn()
	if err == nil {
		err = errors.Join(raw.Control(func(fd uintptr) {
			err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20))
		}), err)
	}
	return w, err
}

// Wire opens a link for frames. What arrives from now on is kept for Next.
func (n *Namespace) Wire(link string) (*Wire, error) {
	index, err := n.Index(link)
	if err != nil {
		return nil, err
	}
	var fd int
	err = n.Do(func() (err error) {
		// Protocol 0 receives nothing until bound to the one link.
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("packet socket in namespace %s: %w", n.Name, err)
	}
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	err = errors.Join(
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1)),
		os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index})))
	if err != nil {
		return nil, fmt.Errorf("packet socket on %s in namespace %s: %w", link, n.Name, errors.Join(err, unix.Close(fd)))
	}
	return &Wire{file: os.NewFile(uintptr(fd), link), buf: make([]byte, 1<<16)}, nil
}

// Close closes the wire.
func (w *Wire) Close() error { return w.file.Close() }

// Send puts a frame on the link as it is.
func (w *Wire) Send(frame []byte) error {
	if _, err := w.file.Write(frame); err != nil {
		return fmt.Errorf("send frame: %w", err)
	}
	return nil
}

// Next waits for the next incoming frame that matches and returns it with its
// VLAN tag. A nil match takes any.
func (w *Wire) Next(ctx context.Context, match func(frame []byte) bool) ([]byte, error) {
	raw, err := w.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	for {
		var (
			frame   []byte
			recvErr error
		)
		err := underContext(ctx, w.file.SetReadDeadline, func() error {
			return raw.Read(func(fd uintptr) bool {
				frame, recvErr = w.receive(int(fd))
				return recvErr != unix.EAGAIN
			})
		})
		switch {
		case err != nil:
			return nil, err
		case recvErr != nil:
			return nil, os.NewSyscallError("recvmsg", recvErr)
		case frame != nil && (match == nil || match(frame)):
			return frame, nil
		}
	}
}

// receive returns nil for a frame that this host sent itself, or, if these are
// wanted, for any other.
func (w *Wire) receive(fd int) ([]byte, error) {
	var oob [256]byte
	n, oobn, _, from, err := unix.Recvmsg(fd, w.buf, oob[:], 0)
	if err != nil {
		return nil, err
	}
	if ll, ok := from.(*unix.SockaddrLinklayer); ok && (ll.Pkttype == unix.PACKET_OUTGOING) != w.sent {
		return nil, nil
	}
	frame := append([]byte(nil), w.buf[:n]...)
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < int(unsafe.Sizeof(unix.TpacketAuxdata{})) {
			continue
		}
		// The kernel takes the outer tag off before sockets see the frame.
		aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&m.Data[0]))
		if aux.Status&unix.TP_STATUS_VLAN_VALID != 0 && len(frame) >= 12 {
			tag := binary.BigEndian.AppendUint16(nil, aux.Vlan_tpid)
			tag = binary.BigEndian.AppendUint16(tag, aux.Vlan_tci)
			frame = append(frame[:12:12], append(tag, frame[12:]...)...)
		}
	}
	return frame, nil
}

// ToPort matches whole TCP and UDP packets, untagged and without IP options or
// extension headers, to an address and port.
func ToPort(to netip.AddrPort) func(frame []byte) bool {
	dst := to.Addr().AsSlice()
	return func(frame []byte) bool {
		addr, port := 30, 36
		want := uint16(EtherTypeIPv4)
		if to.Addr().Is6() {
			addr, port, want = 38, 56, EtherTypeIPv6
		}
		return len(frame) >= port+2 && be16(frame[12:]) == want &&
			string(frame[addr:addr+len(dst)]) == string(dst) && be16(frame[port:]) == to.Port()
	}
}

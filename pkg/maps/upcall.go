package maps

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/pkg/model"
)

// Upcall is a packet of a new flow of a service with policies. The data plane
// has let go of it: it waits for [Set.Decide] and to be injected again.
type Upcall struct {
	// Service is the number of the service.
	Service uint32
	// Ifindex is the interface that the packet came in by, XDP whether the XDP
	// program sent it and not that of TC.
	Ifindex int
	XDP     bool
	// Hash is the flow's, the same on every load balancer.
	Hash uint64
	// Source is the client, Destination the frontend.
	Source, Destination netip.AddrPort
	Protocol            model.Protocol
	// TCPFlags is byte 13 of the TCP header; 0 for UDP.
	TCPFlags uint8
	// At is when the packet came, by the coarse monotonic clock.
	At time.Duration
	// Frame is the whole packet, from the Ethernet header with all its VLAN tags
	// on. It is the caller's until the next Read into this Upcall.
	Frame []byte
	// Network and Transport are where the IP and the TCP or UDP header begin in
	// Frame. A checksum that the sender left to its device is not complete.
	Network, Transport int

	key bpf.DecisionKey
}

// UpcallReader takes the packets out of the ring buffer. Read may be called from
// several goroutines, each with an Upcall of its own.
type UpcallReader struct {
	ring *ringbuf.Reader

	mu     sync.Mutex
	record ringbuf.Record
}

// Upcalls opens the ring buffer. There should be one reader at a time: two share
// the packets. The reader must be closed before the set.
func (s *Set) Upcalls() (*UpcallReader, error) {
	r, err := ringbuf.NewReader(s.maps[upcallsName])
	if err != nil {
		return nil, fmt.Errorf("open ring buffer %s: %w", upcallsName, err)
	}
	return &UpcallReader{ring: r}, nil
}

// Read waits for the next packet. The error is [os.ErrClosed] after Close, and
// [os.ErrDeadlineExceeded] after the deadline, once nothing is left.
func (r *UpcallReader) Read(u *Upcall) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.ring.ReadInto(&r.record)
	switch {
	case errors.Is(err, os.ErrClosed):
		return os.ErrClosed
	case errors.Is(err, ringbuf.ErrFlushed):
		return ErrFlushed
	case err != nil:
		return fmt.Errorf("read ring buffer %s: %w", upcallsName, err)
	}
	return u.decode(r.record.RawSample)
}

// ErrFlushed is what Read returns after [UpcallReader.Flush].
var ErrFlushed = errors.New("no packets are left to read")

// Flush makes Read return what is in the ring buffer now, and then [ErrFlushed]. It
// wakes a Read that waits.
func (r *UpcallReader) Flush() error { return r.ring.Flush() }

// SetDeadline is until when Read waits; zero: for ever.
func (r *UpcallReader) SetDeadline(t time.Time) { r.ring.SetDeadline(t) }

// Waiting is the number of bytes in the ring buffer that nobody has read.
func (r *UpcallReader) Waiting() int { return r.ring.AvailableBytes() }

// Close ends all calls of Read.
func (r *UpcallReader) Close() error { return r.ring.Close() }

const upcallHeader = int(unsafe.Sizeof(bpf.Upcall{}))

// decode copies what b, a record of the ring, holds.
func (u *Upcall) decode(b []byte) error {
	var h bpf.Upcall
	if len(b) < upcallHeader {
		return fmt.Errorf("a record of %s has %d bytes, less than its header", upcallsName, len(b))
	}
	// Records are 8-byte aligned in the ring, but not once copied.
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&h)), upcallHeader), b)
	frame := b[upcallHeader:]
	if int(h.Length) > len(frame) || h.L3 < 14 || h.L4 < h.L3 || uint32(h.L4) >= h.Length {
		return fmt.Errorf("a record of %s holds %d bytes of a frame of %d with headers at %d and %d", upcallsName, len(frame), h.Length, h.L3, h.L4)
	}
	ipv6 := h.Tuple>>40&1 == 1
	*u = Upcall{
		Service: h.Service, Ifindex: int(h.Ifindex), XDP: h.Xdp != 0, Hash: h.Hash,
		Source:      netip.AddrPortFrom(decodeAddr(h.Client, ipv6), swap16(uint16(h.Tuple))),
		Destination: netip.AddrPortFrom(decodeAddr(h.Vip, ipv6), swap16(uint16(h.Tuple>>16))),
		Protocol:    model.Protocol(h.Tuple >> 32), TCPFlags: h.TcpFlags, At: time.Duration(h.At),
		Frame: u.Frame[:0], Network: int(h.L3), Transport: int(h.L4),
		key: bpf.DecisionKey{Client: h.Client, Vip: h.Vip, Tuple: h.Tuple},
	}
	u.setFrame(frame[:h.Length], h.VlanProtocol, h.VlanTci)
	return nil
}

// setFrame puts the tag that TC found beside the frame, if any, back into it.
func (u *Upcall) setFrame(frame []byte, protocol, tci uint16) {
	const macs, tag = 12, 4
	if protocol == 0 {
		u.Frame = append(u.Frame, frame...)
		return
	}
	u.Frame = append(u.Frame, frame[:macs]...)
	u.Frame = binary.NativeEndian.AppendUint16(u.Frame, protocol)
	u.Frame = binary.BigEndian.AppendUint16(u.Frame, tci)
	u.Frame = append(u.Frame, frame[macs:]...)
	u.Network += tag
	u.Transport += tag
}

package loader_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// segmentSize is what a super-packet is cut to.
const segmentSize = 1200

// A super-packet with tags and an unfinished checksum, as a card's or a guest's
// segmentation offload makes them, leaves in whole segments with right checksums
// and the tags of a small packet.
func TestTagsByTCOfSuperPackets(t *testing.T) {
	l := newTagLab(t)
	for _, side := range l.Interfaces {
		// Without offloads the way out cuts and sums.
		if err := l.Balancer.SetFeatures(side, testlab.Features{}); err != nil {
			t.Fatal(err)
		}
	}
	ways := tagWays(11, model.L2DSR, model.NAT)
	l.serve(t, ways)
	send := l.superSocket(t)
	payload := make(testlab.Payload, 3*segmentSize+100)
	for i := range payload {
		payload[i] = byte(i % 251)
	}
	l.eachTag(t, []string{near, far}, func(t *testing.T, side string, in []tag, v maps.VLAN) {
		for _, w := range ways {
			if w.side == side && len(in) < 2 {
				before := l.requests(t, w)
				send(w.super(payload, in))
				l.expectSegments(t, w, payload, tagsOut(in, v, side == near))
				if n := l.requests(t, w) - before; n != 1 {
					t.Errorf("%s: the super-packet was balanced as %d packets", w, n)
				}
			}
		}
	})
}

// requests are the packets counted of a way's service.
func (l *tagLab) requests(t *testing.T, w tagWay) uint64 {
	t.Helper()
	traffic, err := l.maps.ServiceTraffic(w.id)
	if err != nil {
		t.Fatal(err)
	}
	return traffic.Request.Packets
}

// super is a super-packet behind its struct virtio_net_hdr.
func (w tagWay) super(payload testlab.Payload, tags []tag) []byte {
	link := testlab.Ethernet{Dst: tagMACs[near], Src: tagPeers[near]}
	ip := testlab.IP(w.client.Addr(), w.vip.Addr())
	size, kind := 20, byte(unix.VIRTIO_NET_HDR_GSO_TCPV4)
	if w.vip.Addr().Is6() {
		size, kind = 40, unix.VIRTIO_NET_HDR_GSO_TCPV6
	}
	pseudo := unfinished(w, 20+len(payload))
	frame := tagged(testlab.Build(link, ip, testlab.TCP{
		SrcPort: w.client.Port(), DstPort: w.vip.Port(), Flags: testlab.ACK, Checksum: &pseudo,
	}, payload), tags...)
	transport := 14 + 4*len(tags) + size
	header := []byte{unix.VIRTIO_NET_HDR_F_NEEDS_CSUM, kind}
	for _, n := range []int{transport + 20, segmentSize, transport, 16} {
		header = binary.NativeEndian.AppendUint16(header, uint16(n))
	}
	return append(header, frame...)
}

// unfinished is the sum of the pseudo-header, which is all that a sender with
// offload puts into the checksum's place.
func unfinished(w tagWay, length int) uint16 {
	sum := uint32(length) + testlab.ProtoTCP
	for _, a := range [][]byte{w.client.Addr().AsSlice(), w.vip.Addr().AsSlice()} {
		for i := 0; i < len(a); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(a[i:]))
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// superSocket sends super-packets to the balancer's near interface.
func (l *tagLab) superSocket(t *testing.T) (send func(frame []byte)) {
	t.Helper()
	index, err := l.outside.Index(near)
	if err != nil {
		t.Fatal(err)
	}
	var fd int
	if err := l.outside.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return os.NewSyscallError("socket", err)
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1)),
		os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: index}))); err != nil {
		t.Fatal(err)
	}
	return func(frame []byte) {
		if _, err := unix.Write(fd, frame); err != nil {
			t.Fatalf("send a super-packet: %v", err)
		}
	}
}

// expectSegments receives the super-packet's segments.
func (l *tagLab) expectSegments(t *testing.T, w tagWay, payload testlab.Payload, want []tag) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	peer := tagPeers[w.side]
	for at := 0; at < len(payload); at += segmentSize {
		part := payload[at:min(at+segmentSize, len(payload))]
		out, err := l.wires[w.side].Next(ctx, func(f []byte) bool { return testlab.MAC(f[:6]) == peer })
		if err != nil {
			t.Fatalf("%s: segment at %d does not come: %v", w, at, err)
		}
		if err := testlab.Check(out); err != nil {
			t.Errorf("%s: segment at %d: %v", w, at, err)
		}
		end := 12 + 4*len(want)
		if rest := append(out[:12:12], out[min(end, len(out)):]...); string(tagged(rest, want...)) != string(out) {
			t.Errorf("%s: segment at %d begins with %x, want tags %v", w, at, out[:end+2], want)
		}
		if got := out[max(0, len(out)-len(part)):]; string(got) != string(part) {
			t.Errorf("%s: segment at %d has another payload", w, at)
		}
		if n := len(out) - len(part) - 4*len(want); n != len(w.request(model.TCP))-len("word") {
			t.Errorf("%s: segment at %d has %d bytes of headers", w, at, n)
		}
	}
}

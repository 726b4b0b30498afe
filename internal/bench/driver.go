package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

// end is struct end of wrapper.h.
type end struct {
	Address, Other [4]byte
	Port           [2]byte
	_              [2]byte
}

// endOf is a sender; with a receiver, the port is the receiver's.
func endOf(from netip.Addr, port uint16, to netip.Addr) (e end) {
	binary.BigEndian.PutUint32(e.Address[:], lowWord(from))
	binary.BigEndian.PutUint16(e.Port[:], port)
	if to.IsValid() {
		binary.BigEndian.PutUint32(e.Other[:], lowWord(to))
	}
	return e
}

// client is the n-th client, as next_end() in wrapper.h counts them.
func client(n int, ipv6 bool) netip.AddrPort {
	scattered := uint32(n) * 2654435761
	return netip.AddrPortFrom(addTo(firstClient[family(ipv6)], scattered>>15), uint16(1024+scattered&0x7fff))
}

// traffic is what a driver sends.
type traffic struct {
	hook     string
	protocol model.Protocol
	flags    testlab.TCPFlags
	// from and to are the packet's ends before the varying one is written.
	from, to netip.AddrPort
	// ends in their turn: the sender's address and port; on the way back the
	// sender's and the receiver's address, and the receiver's port. Empty:
	// clients without end.
	ends []end
	back bool
	// payload, if it is not zeros; it has to fit.
	payload []byte
}

// driver is a wrapper program that sends one kind of traffic.
type driver struct {
	collection *ebpf.Collection
	frame      []byte
	context    []byte
	hook       string
}

// hookSpec is what differs between the hooks.
var hookSpec = map[string]struct {
	load    func() (*ebpf.CollectionSpec, error)
	bare    func() (*ebpf.CollectionSpec, error)
	context func(length int, ingress uint32) []byte
	// What an empty program (the packet is dropped), the pipeline that sends and
	// the one that passes return.
	nothing, sends, passes uint32
}{
	"xdp": {loadWrapperXDP, loadBareXDP, xdpContext, 1, 3, 2},
	"tc":  {loadWrapperTC, loadBareTC, skbContext, 2, 7, 0xffffffff},
}

// xdpContext is struct xdp_md.
func xdpContext(length int, ingress uint32) []byte {
	b := make([]byte, 24)
	binary.NativeEndian.PutUint32(b[4:], uint32(length)) // data_end
	binary.NativeEndian.PutUint32(b[12:], ingress)
	return b
}

// skbContext is struct __sk_buff.
func skbContext(_ int, ingress uint32) []byte {
	b := make([]byte, 192)
	binary.NativeEndian.PutUint32(b[40:], ingress)
	return b
}

func (st *stage) newDriver(t traffic) (*driver, error) {
	hook := hookSpec[t.hook]
	spec, err := hook.load()
	if err != nil {
		return nil, fmt.Errorf("read compiled wrapper: %w", err)
	}
	frame := t.build()
	at := t.offsets()
	spec.Maps["ends"].MaxEntries = uint32(max(1, len(t.ends)))
	var words [10]uint64
	for i := 0; i < len(frame); i += 8 {
		words[i/8] = binary.NativeEndian.Uint64(frame[i:])
	}
	for name, value := range map[string]any{
		"frame": words, "words": uint32(len(frame) / 8),
		"address_at": at.address, "port_at": at.port, "other_at": at.other,
		"flows": uint32(len(t.ends)), "first_address": lowWord(firstClient[0]),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("load wrapper: %w", err)
	}
	if len(t.ends) > 0 {
		keys := make([]uint32, len(t.ends))
		for i := range keys {
			keys[i] = uint32(i)
		}
		if _, err := c.Maps["ends"].BatchUpdate(keys, t.ends, nil); err != nil {
			c.Close()
			return nil, fmt.Errorf("write %d ends: %w", len(t.ends), err)
		}
	}
	return &driver{collection: c, frame: frame, context: hook.context(len(frame), st.ingress), hook: t.hook}, nil
}

// build returns the frame, as short as Ethernet allows and a multiple of 8
// bytes. The checksum is that of one flow only; the data plane updates
// checksums and does not verify them.
func (t traffic) build() []byte {
	const least = 64
	headers := int(t.offsets().transport) + 20
	if t.protocol == model.UDP {
		headers -= 12
	}
	size := max(least, (headers+7)/8*8)
	l := testlab.Ethernet{Dst: testlab.MAC(ownMAC), Src: testlab.MAC(routerMAC)}
	words := make([]byte, size-headers)
	copy(words, t.payload)
	payload := string(words)
	if t.protocol == model.UDP {
		return testlab.UDPPacket(l, t.from, t.to, payload)
	}
	return testlab.TCPPacket(l, t.from, t.to, t.flags, payload)
}

// offsets are where in the frame is what varies.
type offsets struct{ address, transport, port, other uint32 }

func (t traffic) offsets() offsets {
	const ethernet = 14
	at := offsets{address: ethernet + 12, transport: ethernet + 20}
	receiver := at.address + 4
	if t.from.Addr().Is6() {
		at = offsets{address: ethernet + 8 + 12, transport: ethernet + 40}
		receiver = at.address + 16
	}
	at.port = at.transport
	if t.back {
		at.port += 2 // the destination's
		at.other = receiver
	}
	return at
}

// run repeats the program behind the wrapper. It returns the last verdict and
// the mean time of a repetition.
func (d *driver) run(p *ebpf.Program, repeat int) (verdict uint32, each time.Duration, err error) {
	if err := d.collection.Maps["slot"].Put(uint32(0), p); err != nil {
		return 0, 0, fmt.Errorf("set the wrapper's slot: %w", err)
	}
	return runRepeated(d.collection.Programs["wrap"], d.frame, d.context, repeat)
}

// floor is the wrapper's own time in nanoseconds, measured with an empty program.
//
// Where the program under test encapsulates, the wrapper also takes that off.
// To measure this the empty program must make room for a header, which is no
// work of the wrapper's. Making room and taking it away are one helper with
// another sign, so half of the difference is the wrapper's.
func (d *driver) floor(repeat int, encapsulates bool) (float64, error) {
	empty, err := d.runEmpty("nothing", repeat)
	if err != nil || !encapsulates {
		return empty, err
	}
	grown, err := d.runEmpty("grow", repeat)
	return (empty + grown) / 2, err
}

func (d *driver) runEmpty(name string, repeat int) (float64, error) {
	verdict, each, err := d.run(d.collection.Programs[name], repeat)
	if err != nil {
		return 0, err
	}
	if want := hookSpec[d.hook].nothing; verdict != want {
		return 0, fmt.Errorf("the empty program %s returned %d, not %d", name, int32(verdict), want)
	}
	return float64(each), nil
}

func (d *driver) close() { d.collection.Close() }

// send runs the driver outside of any measurement, each packet of it once.
func (st *stage) send(t traffic, p *ebpf.Program, repeat int) error {
	d, err := st.newDriver(t)
	if err != nil {
		return err
	}
	defer d.close()
	for {
		_, _, err := d.run(p, repeat)
		if !errors.Is(err, errInterrupted) {
			return err
		}
	}
}

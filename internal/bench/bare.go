package bench

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

// bareKind is what the bare table look-up does with a packet.
type bareKind string

const (
	bareL2   bareKind = "bare_l2"   // new MAC addresses
	bareIPIP bareKind = "bare_ipip" // an outer IPv4 header
)

// bare is the bare table look-up at one hook, with what sends to it.
type bare struct {
	hook       string
	collection *ebpf.Collection
	drivers    map[int]*driver // by the number of flows
}

// bareCount is struct count of lib/types.h.
type bareCount struct{ Packets, Bytes uint64 }

var bareFrontend = netip.MustParseAddrPort("192.0.2.250:80")

func (st *stage) bare(hook string) (*bare, error) {
	if b := st.bares[hook]; b != nil {
		return b, nil
	}
	b := &bare{hook: hook, drivers: map[int]*driver{}}
	st.bares[hook] = b // the stage closes it, half made or whole
	if err := b.load(); err != nil {
		return nil, fmt.Errorf("load the bare table look-up: %w", err)
	}
	for _, flows := range []int{one, many} {
		t := traffic{
			hook: hook, protocol: model.TCP, flags: testlab.ACK,
			from: client(0, false), to: bareFrontend, ends: shuffled(firstEnds(flows, false)),
		}
		d, err := st.newDriver(t)
		if err != nil {
			return nil, err
		}
		b.drivers[flows] = d
	}
	return b, nil
}

func (b *bare) close() {
	for _, d := range b.drivers {
		d.close()
	}
	if b.collection != nil {
		b.collection.Close()
	}
}

func (b *bare) load() error {
	spec, err := hookSpec[b.hook].bare()
	if err != nil {
		return err
	}
	source := own[0].Addr().As4()
	if err := spec.Variables["outer_source"].Set(binary.NativeEndian.Uint32(source[:])); err != nil {
		return err
	}
	if b.collection, err = ebpf.NewCollection(spec); err != nil {
		return err
	}
	var backends []BareBackend
	for i := range uint32(backendCount) {
		backends = append(backends, BareBackend{addTo(firstBackend[0], i), backendMAC(i)})
	}
	return FillBare(b.collection.Maps, bareFrontend, backends)
}

// packets is how many were sent to a backend.
func (b *bare) packets() (sum uint64, err error) {
	var perCPU []bareCount
	err = b.collection.Maps["vip_counts"].Lookup(uint32(0), &perCPU)
	for _, c := range perCPU {
		sum += c.Packets
	}
	return sum, err
}

// measure returns nanoseconds per packet, the wrapper's own subtracted.
func (b *bare) measure(kind bareKind, flows, n int) (float64, error) {
	d := b.drivers[flows]
	floor, err := d.floor(n, kind == bareIPIP)
	if err != nil {
		return 0, err
	}
	before, err := b.packets()
	if err != nil {
		return 0, err
	}
	verdict, whole, err := d.run(b.collection.Programs[string(kind)], n)
	if err != nil {
		return 0, err
	}
	after, err := b.packets()
	if err != nil {
		return 0, err
	}
	if want := hookSpec[b.hook].sends; verdict != want || after-before != uint64(n) {
		return 0, fmt.Errorf("the bare table look-up sent %d packets of %d and returned %d, not %d", after-before, n, int32(verdict), want)
	}
	return float64(whole) - floor, nil
}

// bareSamples are all measurements of the bare table look-up in a run.
type bareSamples map[bareKind]map[string]map[int][]float64

func (b bareSamples) add(kind bareKind, hook string, flows int, ns float64) {
	if b[kind] == nil {
		b[kind] = map[string]map[int][]float64{}
	}
	if b[kind][hook] == nil {
		b[kind][hook] = map[int][]float64{}
	}
	b[kind][hook][flows] = append(b[kind][hook][flows], ns)
}

// medians by hook and by the number of flows.
func (b bareSamples) medians(kind bareKind) map[string]map[string]float64 {
	out := map[string]map[string]float64{}
	for hook, byFlows := range b[kind] {
		out[hook] = map[string]float64{}
		for flows, ns := range byFlows {
			out[hook][map[int]string{one: "1", many: "100k"}[flows]] = tenths(median(ns))
		}
	}
	return out
}

func (m *measurement) bareKind() bareKind {
	if m.encapsulates() {
		return bareIPIP
	}
	return bareL2
}

func (m *measurement) bareFlows() int {
	if m.flows == one {
		return one
	}
	return many
}

package bench

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// fillings is how often the flow table is filled over, so that of its four-way
// sets hardly one has room left.
const fillings = 4

// measurement is one line of the report.
type measurement struct {
	*stage
	hook    string
	forward model.Forward
	scenario

	room    *room
	driver  *driver
	samples []sample
}

func (m *measurement) String() string {
	return fmt.Sprintf("%s %s %s", m.hook, m.forward, m.name)
}

func (m *measurement) service() uint32 { return serviceOf(m.variant, m.ipv6) }

func (m *measurement) program() *ebpf.Program {
	if m.hook == "tc" {
		return m.room.programs.TC
	}
	return m.room.programs.XDP
}

// requests is traffic from clients to the service.
func (m *measurement) requests(flags testlab.TCPFlags, ends []end) traffic {
	return traffic{
		hook: m.hook, protocol: m.protocol, flags: flags,
		from: client(0, m.ipv6), to: vipOf(m.service(), m.ipv6), ends: ends,
	}
}

// replies is traffic from backends: to nat's ports, or to the clients.
func (m *measurement) replies(flags testlab.TCPFlags, flows []maps.Flow) traffic {
	ends := make([]end, len(flows))
	var to netip.AddrPort
	for i, f := range flows {
		to = f.NAT
		if m.forward == model.DNAT {
			// The client's address, but a port of the balancer's choice.
			to = netip.AddrPortFrom(f.Client.Addr(), f.NAT.Port())
		}
		from := addTo(firstBackend[family(m.ipv6)], (f.Backend-1)%backendCount)
		ends[i] = endOf(from, to.Port(), to.Addr())
	}
	t := m.requests(flags, ends)
	t.from = netip.AddrPortFrom(firstBackend[family(m.ipv6)], backendPort)
	t.to, t.back = to, true
	return t
}

// population are flows that several scenarios share.
type population struct {
	room     roomKind
	service  uint32
	protocol model.Protocol
}

func (m *measurement) population() population {
	return population{m.roomKind(), m.service(), m.protocol}
}

// established says whether the scenario's packets are of flows that were recorded
// before.
func (m *measurement) established() bool {
	return m.records() && (m.kind == hit || m.kind == reply)
}

// prepare makes what sends the scenario's packets; flows are the population's.
func (m *measurement) prepare(flows []maps.Flow) (err error) {
	var t traffic
	switch m.kind {
	case noVIP:
		t = m.requests(testlab.ACK, shuffled(firstEnds(m.flows, m.ipv6)))
		t.to = netip.AddrPortFrom(foreign, vipPort)
	case newFlow, flood, asked:
		t = m.requests(testlab.SYN, nil)
	case unknown, refused:
		t = m.requests(testlab.ACK, shuffled(firstEnds(m.flows, m.ipv6)))
	case hit:
		ends := shuffled(firstEnds(m.flows, m.ipv6))
		if m.established() {
			ends = endsOf(flows[:m.flows])
		}
		t = m.requests(testlab.ACK, ends)
		if m.variant == named {
			t.payload = []byte{0x41, 0, 0, 0, 0, backendCount / 2} // a short header, and whom it names
		}
	case reply:
		t = m.replies(testlab.ACK, flows[:m.flows])
	}
	if m.driver, err = m.newDriver(t); err != nil || m.kind != flood || !m.records() {
		return err
	}
	// The driver goes on from there.
	_, _, err = m.driver.run(m.program(), fillings*m.room.flows)
	if errors.Is(err, errInterrupted) {
		return nil // counters tell if the table did not get full
	}
	return err
}

// establish makes n flows, and some more, as a few may not find room, and brings each to where its packets change nothing
// any more. It returns them shuffled.
func (m *measurement) establish(n int) ([]maps.Flow, error) {
	begin := m.requests(testlab.SYN, firstEnds(n+n/100, m.ipv6))
	if err := m.send(begin, m.program(), len(begin.ends)); err != nil {
		return nil, err
	}
	var flows []maps.Flow
	for f := range m.room.set.Flows() {
		if f.Service == m.service() && f.Protocol == m.protocol {
			flows = append(flows, f)
		}
	}
	if len(flows) < n {
		return nil, fmt.Errorf("%s: %d flows are in the table, want %d (enlarge it)", m, len(flows), n)
	}
	flows = shuffled(flows)

	var steps []traffic
	if rewrites(m.forward) {
		steps = append(steps, m.replies(testlab.SYN|testlab.ACK, flows))
	}
	steps = append(steps, m.requests(testlab.ACK, endsOf(flows)))
	if rewrites(m.forward) {
		steps = append(steps, m.replies(testlab.ACK, flows))
	}
	for _, t := range steps {
		if err := m.send(t, m.program(), len(flows)); err != nil {
			return nil, err
		}
	}
	return flows, nil
}

// shuffled puts a list into an order that no cache likes, always the same one.
func shuffled[T any](list []T) []T {
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// firstEnds are the first n clients.
func firstEnds(n int, ipv6 bool) []end {
	ends := make([]end, n)
	for i := range ends {
		c := client(i, ipv6)
		ends[i] = endOf(c.Addr(), c.Port(), netip.Addr{})
	}
	return ends
}

func endsOf(flows []maps.Flow) []end {
	ends := make([]end, len(flows))
	for i, f := range flows {
		ends[i] = endOf(f.Client.Addr(), f.Client.Port(), netip.Addr{})
	}
	return ends
}

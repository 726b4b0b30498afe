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
}

func (m *measurement) String() string {
	return fmt.Sprintf("%s %s %s", m.hook, m.forward, m.name)
}

func (m *measurement) service() uint32 { return serviceOf(m.forward, m.ipv6) }

func (m *measurement) program() *ebpf.Program {
	if m.hook == "tc" {
		return m.programs.TC
	}
	return m.programs.XDP
}

// requests is traffic from clients to the service.
func (m *measurement) requests(flags testlab.TCPFlags, ends []end) traffic {
	return traffic{
		hook: m.hook, protocol: m.protocol, flags: flags,
		from: client(0, m.ipv6), to: vipOf(m.service(), m.ipv6), ends: ends,
	}
}

// replies is traffic from backends to nat's ports.
func (m *measurement) replies(flags testlab.TCPFlags, flows []maps.Flow) traffic {
	ends := make([]end, len(flows))
	for i, f := range flows {
		number := f.Backend - (m.service()-1)*backendCount - 1
		ends[i] = endOf(lowWord(firstBackend[family(m.ipv6)])+number, f.NAT.Port())
		ends[i].Other = byte(lowWord(f.NAT.Addr()))
	}
	t := m.requests(flags, ends)
	t.from = netip.AddrPortFrom(firstBackend[family(m.ipv6)], backendPort)
	t.to, t.back = flows[0].NAT, true
	return t
}

// prepare brings the flow table into the scenario's state and returns what
// sends its packets.
func (m *measurement) prepare() (*driver, error) {
	if err := m.forget(); err != nil {
		return nil, err
	}
	switch m.kind {
	case noVIP:
		t := m.requests(testlab.ACK, firstEnds(m.flows, m.ipv6))
		t.to = netip.AddrPortFrom(foreign, vipPort)
		return m.newDriver(t)
	case newFlow:
		return m.newDriver(m.requests(testlab.SYN, nil))
	case flood:
		return m.fill()
	}
	flows, err := m.establish()
	if err != nil {
		return nil, err
	}
	if m.kind == reply {
		return m.newDriver(m.replies(testlab.ACK, flows))
	}
	return m.newDriver(m.requests(testlab.ACK, endsOf(flows)))
}

// fill overfills the flow table; the driver goes on from there.
func (m *measurement) fill() (*driver, error) {
	d, err := m.newDriver(m.requests(testlab.SYN, nil))
	if err != nil {
		return nil, err
	}
	if _, _, err := d.run(m.program(), fillings*m.flowTable); err != nil && !errors.Is(err, errInterrupted) {
		d.close()
		return nil, err
	}
	return d, nil
}

// establish makes the scenario's flows and brings each to where its packets
// change nothing any more. It returns them shuffled.
func (m *measurement) establish() ([]maps.Flow, error) {
	begin := m.requests(testlab.SYN, firstEnds(m.flows, m.ipv6))
	if err := m.send(begin, m.program(), len(begin.ends)); err != nil {
		return nil, err
	}
	var flows []maps.Flow
	for f := range m.set.Flows() {
		flows = append(flows, f)
	}
	if len(flows) < m.flows {
		return nil, fmt.Errorf("%s: %d flows are in the table, want %d (enlarge it)", m, len(flows), m.flows)
	}
	// The table's order would be one that the cache likes.
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(flows), func(i, j int) { flows[i], flows[j] = flows[j], flows[i] })

	var steps []traffic
	if m.forward == model.NAT {
		steps = append(steps, m.replies(testlab.SYN|testlab.ACK, flows))
	}
	steps = append(steps, m.requests(testlab.ACK, endsOf(flows)))
	if m.forward == model.NAT {
		steps = append(steps, m.replies(testlab.ACK, flows))
	}
	for _, t := range steps {
		if err := m.send(t, m.program(), len(flows)); err != nil {
			return nil, err
		}
	}
	return flows, nil
}

// firstEnds are the first n clients.
func firstEnds(n int, ipv6 bool) []end {
	ends := make([]end, n)
	for i := range ends {
		c := client(i, ipv6)
		ends[i] = endOf(lowWord(c.Addr()), c.Port())
	}
	return ends
}

func endsOf(flows []maps.Flow) []end {
	ends := make([]end, len(flows))
	for i, f := range flows {
		ends[i] = endOf(lowWord(f.Client.Addr()), f.Client.Port())
	}
	return ends
}

package control

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// chosen is a service with three backends that chooses as told.
func chosen(s model.Selection) model.Service {
	one := service("web", "203.0.113.1:80", "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
	one.Selection = s
	return one
}

// What is drawn must be recorded, and what is a flow by itself must not.
func TestTrackOfSelection(t *testing.T) {
	for _, c := range []struct {
		selection model.Selection
		forward   model.Forward
		want      model.Track
	}{
		{model.Selection{}, model.L2DSR, model.TrackAuto},
		{model.Selection{Schedule: model.SourceHash}, model.GUE, model.TrackAuto},
		{model.Selection{Hash: model.HashSource}, model.L2DSR, model.TrackAuto},
		{model.Selection{Schedule: model.Random}, model.L2DSR, model.TrackAlways},
		{model.Selection{Schedule: model.RoundRobin}, model.IPIP, model.TrackAlways},
		{model.Selection{Schedule: model.LeastLatency}, model.NAT, model.TrackAlways},
		{model.Selection{Affinity: model.Affinity{Timeout: time.Second}}, model.L2DSR, model.TrackAlways},
		{model.Selection{Schedule: model.Random, OnePacket: true}, model.L2DSR, model.TrackNever},
	} {
		s := chosen(c.selection)
		s.Forward = c.forward
		if got := trackOf(s); got != c.want {
			t.Errorf("%+v by %s: track %s, want %s", c.selection, c.forward, got, c.want)
		}
	}
}

// The table of round robin is in the order of the turns, that of the others is
// maglev's, and weights are told where connections are compared.
func TestTableOfSchedule(t *testing.T) {
	planner := NewPlanner()
	var maglev []uint32
	for _, schedule := range []model.Schedule{model.Maglev, model.Random, model.RoundRobin, model.LeastConnections, model.SourceHash} {
		s := chosen(model.Selection{Schedule: schedule})
		s.Backends[2].Weight = 2
		p, err := planner.Plan(input(maps.Contents{}, s))
		if err != nil {
			t.Fatal(err)
		}
		state := p.Services[0]
		table := p.Contents.Tables[state.ID].Present
		if schedule == model.Maglev {
			maglev = table
		}
		if same := slices.Equal(table, maglev); same != (schedule != model.RoundRobin) {
			t.Errorf("%s: the table is maglev's: %t", schedule, same)
		}
		if schedule == model.RoundRobin {
			third := state.Backends[2].ID
			for i := 2; i < len(table)-2; i += 2 {
				if table[i] != third && table[i+1] != third {
					t.Fatalf("the heavy backend has to wait in %v", table)
				}
			}
		}
		weight := p.Contents.Backends[state.Backends[2].ID].Weight
		if want := map[bool]uint16{true: 2}[schedule == model.LeastConnections]; weight != want {
			t.Errorf("%s: the data plane is told a weight of %d, want %d", schedule, weight, want)
		}
	}
}

// Names of QUIC servers: by address or as given; of two with one name the first
// has it, and a removed backend keeps its own until it goes.
func TestQUICServers(t *testing.T) {
	s := chosen(model.Selection{QUIC: model.QUIC{ServerIDLength: 2, ConfigRotation: 3}})
	s.Backends[1].ServerID = "beef"
	s.Backends = append(s.Backends, model.Backend{Address: netip.MustParseAddrPort("10.0.0.1:81"), Weight: 1}, model.Backend{Address: netip.MustParseAddrPort("10.0.0.9:80"), Weight: 1, ServerID: "abcdef"})
	planner := NewPlanner()
	p, err := planner.Plan(input(maps.Contents{}, s))
	if err != nil {
		t.Fatal(err)
	}
	names := func(p *Plan) map[string]string {
		out := map[string]string{}
		for q, id := range p.Contents.QUICServers {
			if q.Service != p.Services[0].ID || q.Config != 3 {
				t.Errorf("%v", q)
			}
			out[q.ID] = p.Contents.Backends[id].Address.String()
		}
		return out
	}
	if diff := cmp.Diff(map[string]string{"0001": "10.0.0.1:80", "beef": "10.0.0.2:80", "0003": "10.0.0.3:80"}, names(p)); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	want := []string{
		`service "web": backends 10.0.0.1:80 and 10.0.0.1:81 have one server ID, 0001; connection IDs lead to the first`,
		`service "web": the server ID abcdef of backend 10.0.0.9:80 has not 2 octets; connection IDs do not lead there`,
	}
	if !slices.Equal(p.Warnings, want) {
		t.Errorf("warnings %q", p.Warnings)
	}
	// Two are removed, and of one the name goes to another.
	in := input(p.Contents, s)
	in.Services[0].Backends = slices.Clone(s.Backends[:1])
	in.Services[0].Backends = append(in.Services[0].Backends, model.Backend{Address: netip.MustParseAddrPort("10.0.0.4:80"), Weight: 1, ServerID: "beef"})
	p, err = planner.Plan(in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"0001": "10.0.0.1:80", "beef": "10.0.0.4:80", "0003": "10.0.0.3:80"}, names(p)); diff != "" {
		t.Errorf("after a change (-want +got):\n%s", diff)
	}
	in = input(p.Contents, in.Services...)
	in.Idle = map[uint32]bool{}
	for id, b := range p.Contents.Backends {
		in.Idle[id] = b.Address == netip.MustParseAddrPort("10.0.0.3:80")
	}
	in.Now = 24 * time.Hour
	if p, err = planner.Plan(in); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"0001": "10.0.0.1:80", "beef": "10.0.0.4:80"}, names(p)); diff != "" {
		t.Errorf("at last (-want +got):\n%s", diff)
	}
}

// What a plan would change of it is told in words.
func TestDescribeSelection(t *testing.T) {
	s := chosen(model.Selection{
		Schedule: model.Random, Affinity: model.Affinity{Timeout: 10 * time.Minute, IPv4: 24, IPv6: 56},
		QUIC: model.QUIC{ServerIDLength: 4},
	})
	p, err := NewPlanner().Plan(input(maps.Contents{}, s))
	if err != nil {
		t.Fatal(err)
	}
	var service, servers string
	for _, c := range Describe(maps.Diff(maps.Contents{}, p.Contents), p.Words()) {
		switch c.Kind {
		case "service":
			service = c.New
		case "quic":
			servers += c.Service + " " + c.Key + " " + c.New + "\n"
		}
	}
	if want := ", schedule random, affinity of IPv4 /24 and IPv6 /56 for 10m, QUIC server IDs of 4 octets,"; !strings.Contains(service, want) {
		t.Errorf("service %q, want %q in it", service, want)
	}
	if want := "web 0a000001 backend number 1\nweb 0a000002 backend number 2\nweb 0a000003 backend number 3\n"; servers != want {
		t.Errorf("servers %q, want %q", servers, want)
	}
}

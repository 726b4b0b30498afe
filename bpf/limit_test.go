package bpf_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/bpf"
	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// The least limit: of one rate per second it makes one upcall in a window.
const least = 1

// question is a SYN from somewhere to a service of the standard world.
type question struct {
	service uint32
	client  string
}

func (q question) packet() packet {
	w := wayTo(q.service)
	w.client = netip.MustParseAddrPort(q.client)
	return w.request(segment(syn))
}

// outcomes sends the packets within one window and says what became of each:
// "asked", or the event why not and the verdict.
func (p *plane) outcomes(t *testing.T, r *xlb.UpcallReader, questions []question) string {
	t.Helper()
	window := func() uint64 { return coarse(t) >> bpf.UpcallWindow }
	for range 100 {
		p.forgetPolicies(t, r)
		var out []string
		began := window()
		for _, q := range questions {
			before := p.events(t)
			verdict, _, err := p.run(q.packet())
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, outcome(before, p.events(t), verdict))
		}
		if window() == began {
			return strings.Join(out, " ")
		}
	}
	t.Fatal("no hundred tries fit into a window")
	return ""
}

func (p *plane) events(t *testing.T) map[string]uint64 {
	t.Helper()
	list, err := p.set.Events()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]uint64{}
	for _, e := range list {
		out[e.Name] = e.Packets
	}
	return out
}

func outcome(before, after map[string]uint64, verdict string) string {
	for name, n := range after {
		if why, ok := strings.CutPrefix(name, "upcall_"); ok && n > before[name] {
			return why + ":" + verdict
		}
	}
	return "asked"
}

// A source that asks too much is told apart from others, and takes nothing from
// them nor from itself at another service. An IPv6 source is a /64.
func TestUpcallLimitPerSource(t *testing.T) {
	w := policed(model.OverloadDrop)
	for _, s := range []uint32{nat4, nat6, dsr4, dsr6} {
		w.polices(s, model.OverloadDrop, plenty, least)
	}
	p, r := policePlane(t, w)
	p.bothHooks(t, func(t *testing.T) {
		for _, c := range []struct {
			questions []question
			want      string
		}{
			{[]question{
				{dsr4, "10.10.0.2:1"}, {dsr4, "10.10.0.2:2"}, {dsr4, "10.10.0.2:3"},
				{dsr4, "10.10.0.3:1"}, {dsr4, "10.10.0.3:2"}, {nat4, "10.10.0.2:1"}, {dsr4, "10.10.0.4:1"},
			}, "asked source:drop source:drop asked source:drop asked asked"},
			{[]question{
				{dsr6, "[fd10:10::2]:1"}, {dsr6, "[fd10:10::3]:1"}, {dsr6, "[fd10:10::ffff:2]:1"},
				{dsr6, "[fd10:10:0:1::2]:1"}, {nat6, "[fd10:10::2]:1"}, {dsr6, "[fd10:11::2]:1"},
			}, "asked source:drop source:drop asked asked asked"},
		} {
			if got := p.outcomes(t, r, c.questions); got != c.want {
				t.Errorf("%v:\n%s, want\n%s", c.questions, got, c.want)
			}
		}
	})
}

// A service that is asked for too much takes nothing from others.
func TestUpcallLimit(t *testing.T) {
	w := policed(model.OverloadDrop)
	w.polices(dsr4, model.OverloadDrop, least, plenty)
	p, r := policePlane(t, w)
	p.bothHooks(t, func(t *testing.T) {
		got := p.outcomes(t, r, []question{
			{dsr4, "10.10.0.2:1"}, {dsr4, "10.10.0.2:2"}, {dsr4, "10.10.0.3:1"}, {nat4, "10.10.0.2:1"}, {nat4, "10.10.0.3:1"},
		})
		if want := "asked rate:drop rate:drop asked asked"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// A limit allows what it says, in each window anew.
func TestUpcallLimitCounts(t *testing.T) {
	w := policed(model.OverloadDrop)
	w.polices(dsr4, model.OverloadDrop, 59, plenty) // 3.96 in a window
	p, r := policePlane(t, w)
	p.bothHooks(t, func(t *testing.T) {
		var questions []question
		for i := range 6 {
			questions = append(questions, question{dsr4, fmt.Sprint("10.10.0.2:", i+1)})
		}
		for range 3 {
			if got, want := p.outcomes(t, r, questions), "asked asked asked asked rate:drop rate:drop"; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		// The next window counts anew, without anybody's doing.
		p.waiting(t, r)
		full := coarse(t) >> bpf.UpcallWindow << 32
		p.put(t, "service_upcalls", dsr4, full-1<<32|4)
		p.expectAsked(t, r, wayTo(dsr4), segment(syn))
	})
}

// What a limit keeps from the daemon follows the service's mode.
func TestUpcallLimitOverload(t *testing.T) {
	for why, limits := range map[string][2]uint32{"rate": {least, plenty}, "source": {plenty, least}} {
		for mode, verdict := range map[model.OnOverload]string{model.OverloadContinue: "redirect", model.OverloadDrop: "drop"} {
			t.Run(fmt.Sprint(why, " ", mode), func(t *testing.T) {
				x := policed(mode)
				for _, s := range []uint32{nat4, dsr4} {
					x.polices(s, mode, limits[0], limits[1])
				}
				p, r := policePlane(t, x)
				p.bothHooks(t, func(t *testing.T) {
					for _, s := range []uint32{nat4, dsr4} {
						got := p.outcomes(t, r, []question{{s, "10.10.0.2:1"}, {s, "10.10.0.2:2"}})
						if want := "asked " + why + ":" + verdict; got != want {
							t.Errorf("service %d: %s, want %s", s, got, want)
						}
					}
				})
			})
		}
	}
}

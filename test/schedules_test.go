package test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// TestSchedules: what a service is told of how to choose is what real clients see,
// and what the command line shows.
func TestSchedules(t *testing.T) {
	for _, forward := range []string{"nat", "l2dsr"} {
		for _, mode := range []string{"native", "tc"} {
			t.Run(forward+"/"+mode, func(t *testing.T) { testSchedules(t, forward, mode) })
		}
	}
}

func testSchedules(t *testing.T, forward, mode string) {
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.OneArm, Backends: 3, BackendsHoldVIPs: forward == "l2dsr"})
	const probed = "\nprobe: {type: tcp, interval: 200ms}"
	more := "forward: " + forward
	turns := service{name: "turns", weights: []int{1, 1, 1}, more: more + "\nprobe: none\nschedule: round-robin"}
	least := service{name: "least", ipv6: true, weights: []int{1, 1, 1}, more: more + "\nprobe: none\nschedule: least-connections"}
	bound := service{name: "bound", protocol: "udp", weights: []int{1, 1, 1}, more: more + "\nprobe: none\nschedule: random\naffinity: {timeout: 10m, ipv4: 24}"}
	last := service{name: "quick", protocol: "udp", ipv6: true, weights: []int{1, 1, 1}, more: more + probed + "\nschedule: least-latency"}
	if forward == "l2dsr" {
		last = service{name: "single", protocol: "udp", ipv6: true, weights: []int{1, 1, 1}, more: more + "\nprobe: none\nschedule: round-robin\nops: true"}
	}
	keys := "attach: " + mode
	n.run(n.config(keys, turns, least, bound, last))

	n.expectTurns(turns)
	n.expectEven(least)
	n.expectBound(bound, func(home int) {
		bound.weights = []int{1, 1, 1}
		bound.weights[home] = 0
		n.write(n.config(keys, turns, least, bound, last))
		n.xlb("reload")
	})
	if forward == "l2dsr" {
		n.expectSingle(last)
		return
	}
	n.eventually("the probes' times", func() string {
		for _, b := range decode[api.ServiceDetail](n, "service", "show", last.name).Backends {
			if b.LatencySeconds <= 0 || b.LatencySeconds > 1 {
				return fmt.Sprintf("%+v", b)
			}
		}
		return ""
	})
	if text := n.xlb("service", "show", last.name); !strings.Contains(text, "LATENCY") {
		t.Error(text)
	}
	n.sendAll(last, 20)
}

// expectTurns: three connections in a row go to three backends, but where the table
// begins anew.
func (n *network) expectTurns(s service) {
	n.t.Helper()
	var order []string
	for range 30 {
		order = append(order, must(n.get(s.frontend(n), 5*time.Second))(n.t))
	}
	wrong := 0
	for i := range order[2:] {
		if order[i] == order[i+1] || order[i] == order[i+2] || order[i+1] == order[i+2] {
			wrong++
		}
	}
	if wrong > 2 {
		n.t.Errorf("round robin went to %v", order)
	}
	if text := n.xlb("service", "show", s.name); !strings.Contains(text, "round-robin, 1009 slots") {
		n.t.Error(text)
	}
}

// expectEven: open connections are shared out evenly, and who loses its own gets the
// next ones.
func (n *network) expectEven(s service) {
	n.t.Helper()
	const count = 30
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	dial := func() {
		open = append(open, must(n.Client.Dial(context.Background(), "tcp", s.frontend(n).String()))(n.t))
	}
	counts := func() (each []int, sum int) {
		for _, b := range decode[api.ServiceDetail](n, "service", "show", s.name).Backends {
			each, sum = append(each, b.Connections), sum+b.Connections
		}
		return each, sum
	}
	for range count {
		dial()
	}
	each, sum := counts()
	if sum != count || slices.Max(each)-slices.Min(each) > 6 {
		n.t.Errorf("%d connections are counted as %v", count, each)
	}
	if text := n.xlb("service", "show", s.name); !strings.Contains(text, "OPEN") {
		n.t.Error(text)
	}
	for _, c := range open {
		c.Close()
	}
	open = nil
	n.eventually("closed connections are not counted", func() string {
		if each, sum := counts(); sum != 0 {
			return fmt.Sprint(each)
		}
		return ""
	})
}

// expectBound: a client's flows go to one backend, also after change took its weight.
func (n *network) expectBound(s service, change func(home int)) {
	n.t.Helper()
	home := must(n.ask(s.frontend(n), 3))(n.t)
	same := func(what string) {
		for range 10 {
			if name := must(n.ask(s.frontend(n), 3))(n.t); name != home {
				n.t.Fatalf("%s: a flow went to %s, not to %s", what, name, home)
			}
		}
	}
	same("at first")
	change(slices.IndexFunc(n.Backends, func(b *testlab.Backend) bool { return b.Name == home }))
	same("without weight")
	if c := n.counter(decode[api.Stats](n, "stats").Events, "affinity"); c < 20 {
		n.t.Errorf("%d flows are counted", c)
	}
	if text := n.xlb("status"); !strings.Contains(text, "random, affinity 10m") {
		n.t.Error(text)
	}
}

// expectSingle: the datagrams of one flow go to all backends in turn.
func (n *network) expectSingle(s service) {
	n.t.Helper()
	f := must(n.Client.UDPFlow(context.Background(), s.frontend(n)))(n.t)
	defer f.Close()
	seen := map[string]int{}
	for i := range 15 {
		name, _, err := f.Ask(context.Background(), fmt.Append(nil, "question ", i), 3, 2*time.Second)
		if err != nil {
			n.t.Fatal(err)
		}
		seen[name]++
	}
	if len(seen) != 3 || seen[n.Backends[0].Name] < 4 {
		n.t.Errorf("the datagrams of a flow went to %v", seen)
	}
	if flows := n.flows("--service", s.name); len(flows) != 0 {
		n.t.Errorf("recorded are %+v", flows)
	}
}

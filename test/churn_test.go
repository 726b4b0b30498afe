package test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// TestChurn changes everything at once, faster than the daemon can follow: the
// file, drains and weights. No request fails, and in the end the last word
// holds.
func TestChurn(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 4})
	web := func(w ...int) service {
		return service{name: "web", weights: w, more: "probe: {type: tcp, interval: 100ms, fall: 10}"}
	}
	// Others that come and go.
	config := func(i int, w ...int) string {
		return n.config("attach: native", web(w...),
			service{name: fmt.Sprintf("other%d", i%3), port: 9000 + uint16(i%5), weights: []int{1, 1, 1}, more: "probe: none"})
	}
	n.run(config(0, 1, 1, 1, 1))
	load := n.startLoad(web().frontend(n))
	random := rand.New(rand.NewPCG(1, 2))
	client := must(api.Dial(n.socket()))(t)
	defer client.Close()
	for i := range 60 {
		w := []int{1, 0, 0, 0} // somebody always serves
		for j := 1; j < len(w); j++ {
			w[j] = random.IntN(5) - 1
		}
		n.write(config(i, w...))
		if i%3 == 0 {
			if err := client.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		b := web().backend(n, 1+random.IntN(3))
		// A backend that is not in the file just now has nothing to drain.
		switch random.IntN(3) {
		case 0:
			_ = client.Drain(t.Context(), "web", b)
		case 1:
			_ = client.Undrain(t.Context(), "web", b)
		case 2:
			_ = client.SetWeight(t.Context(), "web", b, random.IntN(10))
		}
	}
	n.write(config(1, 1, 2, 3, 4))
	n.xlb("reload")
	for i := range n.Backends {
		n.xlb("backend", "undrain", "web", web().backend(n, i).String())
		n.xlb("backend", "weight", "web", web().backend(n, i).String(), "reset")
	}
	n.spread("at the end", load.since(150), []int{1, 2, 3, 4})
	load.finish()
	status := decode[api.Status](n, "status")
	if len(status.Services) != 2 || !status.Ready || len(status.Reasons) != 0 {
		t.Errorf("at the end: ready %v, reasons %v, services %+v", status.Ready, status.Reasons, status.Services)
	}
}

// TestCrashLoop kills the daemon at any moment of its start. No request fails,
// long connections stay, and a start in peace comes up as ever.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 2})
	for _, b := range n.Backends {
		must(b.StartTCPEcho(echoPort))(t)
	}
	web := service{name: "web", weights: []int{1, 1}, more: "probe: none"}
	echo := service{name: "echo", port: echoPort, weights: []int{1, 1}, more: "probe: none"}
	n.run(n.config("attach: native", web, echo)).crash()
	load := n.startLoad(web.frontend(n))
	connections := n.hold(echo, 20)
	for i := range 8 {
		d := n.launch()
		timer := time.NewTimer(time.Duration(i) * 180 * time.Millisecond)
		select {
		case <-timer.C:
		case <-d.Done():
			t.Fatalf("the daemon ended by itself: %v\n%s", d.Wait(), d.logged())
		}
		d.crash()
		connections.alive("after a crash")
	}
	n.start()
	if s := decode[api.Status](n, "status"); !s.Adopted {
		t.Error("the last daemon adopted nothing")
	}
	connections.check("at the end")
	load.progress(50)
	load.finish()
}

// TestHalfStart kills the daemon at any moment of its first start. Detach
// then leaves the host as it was, and the next start finds nothing in its way.
func TestHalfStart(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 1})
	for _, i := range n.Interfaces {
		if err := n.Balancer.Sysctl("net/ipv4/conf/"+i+"/forwarding", "0"); err != nil {
			t.Fatal(err)
		}
	}
	settings := n.sysctls()
	web := service{name: "web", weights: []int{1}, more: "probe: none"}
	n.write(n.config("attach: native", web))
	for i := range 10 {
		d := n.launch()
		timer := time.NewTimer(time.Duration(i) * 120 * time.Millisecond)
		select {
		case <-timer.C:
		case <-d.Done():
			t.Fatalf("the daemon ended by itself: %v\n%s", d.Wait(), d.logged())
		}
		d.crash()
		if i%2 == 0 {
			continue // the next start goes on from there
		}
		n.xlb("detach")
		if xdp, tc := n.hooked(); len(xdp)+len(tc) > 0 {
			t.Errorf("killed after %d × 120 ms: programs are left: XDP on %v, TC on %v", i, xdp, tc)
		}
		if now := n.sysctls(); now != settings {
			t.Errorf("killed after %d × 120 ms: settings were\n%sand are\n%s", i, settings, now)
		}
		if _, err := n.inBalancer("nft", "list", "table", "inet", "xlb"); err == nil {
			t.Errorf("killed after %d × 120 ms: the nftables table is left", i)
		}
	}
	n.start()
	if _, err := n.get(web.frontend(n), 5*time.Second); err != nil {
		t.Error(err)
	}
}

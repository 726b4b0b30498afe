package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// TestFailover takes backends away in several ways. The probes notice, say
// why, and bring them back.
func TestFailover(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 3})
	const probe = "probe: {type: http, path: /health, interval: 200ms, rise: 2, fall: 2}"
	web := service{name: "web", weights: []int{1, 1, 1}, more: probe}
	n.run(n.config("", web))
	up := func(b *api.Backend) bool {
		return b.State == api.StateHealthy && b.EffectiveWeight == 1 && b.Reason == ""
	}
	for i := range n.Backends {
		n.awaitBackend(web, i, "first probe", up)
	}
	for _, c := range []struct {
		name, reason string
		away, back   func() error
	}{
		{"stopped", "connection refused", n.http[0].Stop, n.http[0].Restart},
		{"sick", "503",
			func() error { n.http[0].SetHealthy(false); return nil },
			func() error { n.http[0].SetHealthy(true); return nil }},
		{"unplugged", "", n.Backends[0].Unplug, func() error { return n.Backends[0].Plug(t.Context()) }},
	} {
		if err := c.away(); err != nil {
			t.Fatal(err)
		}
		n.awaitBackend(web, 0, c.name, func(b *api.Backend) bool {
			return b.State == api.StateUnhealthy && b.EffectiveWeight == 0 && b.Reason != "" && strings.Contains(b.Reason, c.reason)
		})
		b := n.backends(decode[api.Status](n, "status"), web)[0]
		for _, command := range []string{"status", "backend ls"} {
			if text := n.xlb(strings.Fields(command)...); !strings.Contains(text, b.Reason) || !strings.Contains(text, "unhealthy") {
				t.Errorf("%s: xlb %s does not say %q:\n%s", c.name, command, b.Reason, text)
			}
		}
		load := n.startLoad(web.frontend(n))
		n.spread(c.name, load.since(90), []int{0, 1, 1})
		if err := c.back(); err != nil {
			t.Fatal(err)
		}
		n.awaitBackend(web, 0, c.name+" and back", up)
		n.spread(c.name+" and back", load.since(90), []int{1, 1, 1})
		load.finish()
	}
}

// TestAllDown: without a usable backend a service uses all of them or none, as
// it was told.
func TestAllDown(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.OneArm, Backends: 2})
	const probe = "probe: {type: http, port: 8080, path: /health, interval: 200ms, rise: 1, fall: 1}"
	open := service{name: "open", weights: []int{1, 1}, more: "fail: open\n" + probe}
	closed := service{name: "closed", ipv6: true, weights: []int{1, 1}, more: "fail: closed\n" + probe}
	n.run(n.config("", open, closed))
	health := func(ok bool, state string) {
		t.Helper()
		for i, h := range n.http {
			h.SetHealthy(ok)
			for _, s := range []service{open, closed} {
				n.awaitBackend(s, i, state, func(b *api.Backend) bool { return b.State == state })
			}
		}
	}
	health(true, api.StateHealthy)
	health(false, api.StateUnhealthy)

	status := decode[api.Status](n, "status")
	for _, s := range status.Services {
		if s.FailOpen != (s.Name == "open") || s.Fail != s.Name {
			t.Errorf("service %s: fail %s, fail open %v", s.Name, s.Fail, s.FailOpen)
		}
		for _, b := range s.Backends {
			if (b.EffectiveWeight > 0) != (s.Name == "open") || b.Reason == "" {
				t.Errorf("service %s: backend %+v", s.Name, b)
			}
		}
		if !slices.Contains(status.Reasons, "service_down:"+s.Name) {
			t.Errorf("reasons %v", status.Reasons)
		}
	}
	if text := n.xlb("status"); !strings.Contains(text, "fail open, all are used") {
		t.Errorf("status does not say that the service fails open:\n%s", text)
	}
	if text := n.xlb("service", "ls"); !strings.Contains(text, "new flows are dropped") {
		t.Errorf("service ls does not say that flows are dropped:\n%s", text)
	}
	// The servers are well; only their probes fail.
	n.spread("fail open", n.sendAll(open, 100), []int{1, 1})
	if name, err := n.get(closed.frontend(n), 300*time.Millisecond); err == nil {
		t.Errorf("fail closed: %s answered", name)
	}
	if stats := decode[api.Stats](n, "stats"); n.counter(stats.Reasons, "drop_no_backend") == 0 {
		t.Errorf("the dropped packet is not counted: %+v", stats.Reasons)
	}

	health(true, api.StateHealthy)
	n.eventually("end of the failure", func() string {
		if s, err := n.poll(); err != nil || len(s.Reasons) > 0 {
			return fmt.Sprintf("%v, %v", s.Reasons, err)
		}
		return ""
	})
	n.spread("recovered", n.sendAll(closed, 100), []int{1, 1})
}

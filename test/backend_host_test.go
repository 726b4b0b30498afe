package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
)

// host is a backend that is prepared by the real binary.
type host struct {
	t       *testing.T
	backend *testlab.Backend
	places  []string
}

func newHost(n *network) *host {
	h := &host{n.t, n.Backends[0], []string{"--state-dir", filepath.Join(n.dir, "backend"), "--pin-dir", n.pins + "-backend"}}
	n.t.Cleanup(func() { h.must(0, "--undo") })
	return h
}

// run runs xlb backend-host in the backend and returns its output and status.
func (h *host) run(args ...string) (stdout, stderr string, status int) {
	h.t.Helper()
	p := h.backend.Command(context.Background(), binary, append(append([]string{"backend-host"}, args...), h.places...)...)
	p.Cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	var out, errs bytes.Buffer
	p.Cmd.Stdout, p.Cmd.Stderr = &out, &errs
	_ = p.Run()
	return out.String(), errs.String(), p.Cmd.ProcessState.ExitCode()
}

func (h *host) must(status int, args ...string) string {
	h.t.Helper()
	out, errs, got := h.run(args...)
	if got != status || errs != "" {
		h.t.Fatalf("xlb backend-host %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), got, status, out, errs)
	}
	return out
}

// A backend is prepared for l2dsr by one command, serves through the balancer,
// and is as before after another.
func TestBackendHost(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.OneArm, Backends: 1})
	h := newHost(n)
	setting := []string{"--vip", n.VIP4.String(), "--vip", n.VIP6.String(), "--forward", "l2dsr", "--interface", "eth0"}

	// What --check prints is a script that mends it.
	script := h.must(1, append([]string{"--check"}, setting...)...)
	for _, want := range []string{
		"sysctl -w net.ipv4.conf.eth0.arp_ignore=1  # ", "sysctl -w net.ipv4.conf.eth0.arp_announce=2  # ",
		fmt.Sprintf("ip address add %s/32 dev lo  # ", n.VIP4), fmt.Sprintf("ip address add %s/128 dev lo nodad preferred_lft 0  # ", n.VIP6),
	} {
		if !strings.Contains(script, want) {
			t.Errorf("the script lacks %q:\n%s", want, script)
		}
	}

	h.must(0, setting...)
	if out := h.must(0); !strings.HasPrefix(out, "nothing to change: this host is ready for l2dsr") {
		t.Errorf("a second run says\n%s", out)
	}
	var found struct {
		OK       bool
		Problems []struct{ What, Mend string }
	}
	if err := json.Unmarshal([]byte(h.must(0, "--check", "--json")), &found); err != nil || !found.OK || len(found.Problems) != 0 {
		t.Errorf("%v %+v", err, found)
	}
	services := []service{
		{name: "web4", weights: []int{1}, more: "forward: l2dsr"}, {name: "web6", ipv6: true, weights: []int{1}, more: "forward: l2dsr"},
	}
	n.run(n.config("", services...))
	for _, v := range services {
		n.sendAll(v, 50)
	}
	n.daemons[0].stop()
	h.must(0, "--undo")
	if again := h.must(1, append([]string{"--check"}, setting...)...); again != script {
		t.Errorf("before:\n%s\nundone:\n%s", script, again)
	}

	// The script alone does it too.
	p := h.backend.Command(t.Context(), "sh", "-e")
	p.Cmd.Stdin = strings.NewReader(script)
	if out, err := p.Output(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h.must(0, append([]string{"--check"}, setting...)...)
}

// The counters of a tunnel are shown, and nothing is left of it.
func TestBackendHostTunnel(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.OneArm, Backends: 1})
	h := newHost(n)
	h.must(0, "--vip", n.VIP4.String(), "--forward", "ipip", "--from", n.Source4.String())
	// A stranger: the client itself.
	mac, own := must(h.backend.MAC("eth0"))(t), must(n.Client.MAC("eth0"))(t)
	wire := must(n.Client.Wire("eth0"))(t)
	defer wire.Close()
	frame := testlab.Build(testlab.Ethernet{Dst: testlab.MAC(mac), Src: testlab.MAC(own)}, testlab.IP(n.Client4, h.backend.IP4),
		testlab.IP(n.Client4, n.VIP4), testlab.UDP{SrcPort: 1, DstPort: httpPort}, testlab.Payload("hello"))
	if err := wire.Send(frame); err != nil {
		t.Fatal(err)
	}
	n.eventually("the counter", func() string {
		var s struct {
			Tunnel   struct{ Hook string }
			Counters []struct {
				Reason  string
				Packets uint64
			}
		}
		if err := json.Unmarshal([]byte(h.must(0, "--status", "--json")), &s); err != nil {
			t.Fatal(err)
		}
		if s.Tunnel.Hook == "" {
			t.Fatal("the status does not name the hook")
		}
		for _, c := range s.Counters {
			if c.Reason == "drop_source" && c.Packets == 1 {
				return ""
			}
		}
		return fmt.Sprintf("%+v", s)
	})
	if out := h.must(0, "--status"); !strings.Contains(out, "drop_source") {
		t.Errorf("status:\n%s", out)
	}
	h.must(0, "--undo")
	if _, err := os.Stat(n.pins + "-backend"); err == nil {
		t.Error("the pins are left")
	}
}

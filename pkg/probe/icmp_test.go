package probe

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"github.com/xlb-io/xlb/internal/testlab/labtest"
	"github.com/xlb-io/xlb/pkg/model"
)

// By a ping socket and, where the kernel allows none, by a raw one.
func TestICMP(t *testing.T) {
	noSocketLeft(t)
	n := labtest.Space(t)
	for _, groups := range []string{"0 2147483647", "1 0"} {
		if err := n.Sysctl("net.ipv4.ping_group_range", groups); err != nil {
			t.Fatal(err)
		}
		for _, address := range []string{"127.0.0.1", "::1"} {
			tg := target("web", netip.AddrPortFrom(netip.MustParseAddr(address), 80).String())
			tg.Probe.Type, tg.Probe.Timeout = model.ProbeICMP, 5*time.Second
			if _, reason := checkIn(t, n, tg); reason != "" {
				t.Errorf("%s with groups %s: %s", address, groups, reason)
			}
		}
		away := target("web", "192.0.2.1:80")
		away.Probe.Type = model.ProbeICMP
		if _, reason := checkIn(t, n, away); reason != "connect: network is unreachable" {
			t.Errorf("reason is %q", reason)
		}
	}
	if err := n.Sysctl("net/ipv4/icmp_echo_ignore_all", "1"); err != nil {
		t.Fatal(err)
	}
	mute := target("web", "127.0.0.1:80")
	mute.Probe.Type, mute.Probe.Timeout = model.ProbeICMP, 100*time.Millisecond
	if _, reason := checkIn(t, n, mute); reason != "timeout after 100ms while waiting for the response" {
		t.Errorf("reason is %q", reason)
	}
}

// What else a socket receives is no answer.
func TestICMPAnswers(t *testing.T) {
	packet := func(kind icmp.Type, data string) []byte {
		b, err := (&icmp.Message{Type: kind, Body: &icmp.Echo{ID: 1, Seq: 1, Data: []byte(data)}}).Marshal(nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	header := []byte{0x46, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1, 1, 1, 1, 1} // with an option
	reply := packet(ipv4.ICMPTypeEchoReply, "ours")
	for _, c := range []struct {
		name   string
		packet []byte
		want   bool
	}{
		{"ours", reply, true},
		{"ours with a header", append(header, reply...), true},
		{"another's", packet(ipv4.ICMPTypeEchoReply, "other"), false},
		{"the request", packet(ipv4.ICMPTypeEcho, "ours"), false},
		{"half a header", header[:12], false},
		{"nothing", nil, false},
	} {
		if got := answers(c.packet, 1, []byte("ours")); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

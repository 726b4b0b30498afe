package test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// another is a further address of the client, the n-th after its own.
func (n *network) another(ipv6 bool, after int) netip.Addr {
	n.t.Helper()
	a, bits := n.Client4, 24
	if ipv6 {
		a, bits = n.Client6, 64
	}
	for range after {
		a = a.Next()
	}
	if err := n.Client.AddAddresses("eth0", netip.PrefixFrom(a, bits)); err != nil {
		n.t.Fatal(err)
	}
	return a
}

// getFrom is one request over a connection of its own from an address of the
// client's.
func (n *network) getFrom(from netip.Addr, to netip.AddrPort, timeout time.Duration) (backend string, err error) {
	client := &http.Client{Timeout: timeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return n.Client.DialFrom(ctx, network, netip.AddrPortFrom(from, 0), to)
		},
	}}
	defer client.CloseIdleConnections()
	return testlab.Get(context.Background(), client, "http://"+to.String()+"/")
}

// detail is all that is known of a service.
func (n *network) detail(name string) api.ServiceDetail {
	n.t.Helper()
	return decode[api.ServiceDetail](n, "service", "show", name)
}

// list replaces a file beside the configuration, as a writer of lists should.
func (n *network) list(name string, lines ...string) {
	n.t.Helper()
	path := filepath.Join(n.dir, name)
	if err := os.WriteFile(path+".new", []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		n.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		n.t.Fatal(err)
	}
}

// silence is how long a client waits for an answer that is not to come.
const silence = 300 * time.Millisecond

// TestRulesLists: who is not allowed, or denied, gets no answer, by TCP or UDP, and
// neither do his connections under way; all that is counted.
func TestRulesLists(t *testing.T) {
	t.Parallel()
	for _, c := range everywhere {
		t.Run(c.forward+"/"+c.attach, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, testlab.TopologyOptions{Shape: c.shape, Backends: 2, BackendsHoldVIPs: c.forward == "l2dsr"})
			for _, f := range families {
				n.ruleLists(c.forward, c.attach, f.name, f.ipv6)
			}
		})
	}
}

func (n *network) ruleLists(forward, attach, family string, ipv6 bool) {
	n.t.Helper()
	friend, stranger := n.another(ipv6, 40), n.another(ipv6, 41)
	own := n.Client4
	if ipv6 {
		own = n.Client6
	}
	n.list("friends.txt", "# ours", fmt.Sprint(friend), own.String()+" # and its neighbour")
	n.list("blocked.txt")
	s := service{
		name: "web" + family, ipv6: ipv6, weights: []int{1, 1},
		more: "probe: none\nforward: " + forward + "\nallow: friends.txt\ndeny: [blocked.txt]",
	}
	d := n.run(n.config("attach: "+attach, s))
	get := func(from netip.Addr, answers bool) {
		n.t.Helper()
		wait := silence
		if answers {
			wait = 10 * time.Second
		}
		if _, err := n.getFrom(from, s.frontend(n), wait); (err == nil) != answers {
			n.t.Errorf("%s of %s asks: %v, want an answer: %v", family, from, err, answers)
		}
	}
	get(own, true)
	get(friend, true)
	get(stranger, false)

	slow := must(n.Client.DialFrom(context.Background(), "tcp", netip.AddrPortFrom(friend, 0), s.frontend(n)))(n.t)
	defer slow.Close()
	n.list("blocked.txt", fmt.Sprint(friend), "203.0.113.0/24")
	n.eventually("the list is read again", func() string {
		if r := n.detail(s.name).Rules; r.Deny != 2 {
			return fmt.Sprintf("%+v", r)
		}
		return ""
	})
	get(friend, false)
	get(own, true)
	if _, err := slow.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
		n.t.Fatal(err)
	}
	if err := slow.SetReadDeadline(time.Now().Add(silence)); err != nil {
		n.t.Fatal(err)
	}
	if got, err := slow.Read(make([]byte, 1)); got != 0 || err == nil {
		n.t.Errorf("a connection under way got an answer after its source was denied")
	}
	r := n.detail(s.name)
	if r.Refused.Denied == 0 || r.Refused.NotAllowed == 0 || r.Rules.Allow != 2 || len(r.Rules.Files) != 2 {
		n.t.Errorf("refused %+v, rules %+v", r.Refused, r.Rules)
	}
	if text := n.xlb("service", "show", s.name); !strings.Contains(text, "2 allowed, 2 denied; ") || !strings.Contains(text, "blocked.txt: 2 prefixes of ") {
		n.t.Errorf("shown as\n%s", text)
	}
	d.stop()
}

// TestRulesReload swaps a list of twenty thousand networks under traffic, again and
// again: who is not on it loses nothing, and who is on each of them never gets
// through.
func TestRulesReload(t *testing.T) {
	n := reloadNetwork(t)
	blocked := n.another(false, 40)
	networks := func(first int) []string {
		lines := []string{blocked.String()}
		for i := range 20_000 {
			lines = append(lines, fmt.Sprintf("%d.%d.%d.0/24", first, i>>8, i&255))
		}
		return lines
	}
	n.list("blocked.txt", networks(100)...)
	web := service{name: "web", weights: []int{1, 1, 1}, more: "probe: none\ndeny: blocked.txt"}
	echo := service{name: "echo", port: echoPort, weights: []int{1, 1, 1}, more: "probe: none\ndeny: blocked.txt"}
	n.run(n.config("attach: native", web, echo))
	load := n.startLoad(web.frontend(n))
	held := n.hold(echo, 60)
	held.check("at the start")

	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	var through, tried atomic.Int64
	group.Go(func() {
		for ctx.Err() == nil {
			if c, err := n.dialFor(ctx, blocked, web.frontend(n), 50*time.Millisecond); err == nil {
				c.Close()
				through.Add(1)
			}
			tried.Add(1)
		}
	})
	for round := range 8 {
		n.list("blocked.txt", networks(101 + round)[:20_001-round]...)
		n.eventually("the list is read again", func() string {
			for _, s := range []service{web, echo} {
				if r := n.detail(s.name).Rules; r.Deny != 20_001-round {
					return fmt.Sprintf("%d denied", r.Deny)
				}
			}
			return ""
		})
		load.progress(40)
		held.alive("after a list was swapped")
	}
	n.list("blocked.txt", "10.0.0.0/8", "nonsense")
	n.eventually("the mistake is told", func() string {
		s, err := n.poll()
		if err != nil || strings.Join(s.Reasons, " ") != "rules_stale:echo rules_stale:web" {
			return fmt.Sprintf("reasons %v, %v", s.Reasons, err)
		}
		return ""
	})
	if _, stderr, code := n.try("reload"); code != 2 || !strings.Contains(stderr, "blocked.txt:2: ") {
		t.Errorf("reload with a wrong list: status %d, %s", code, stderr)
	}
	stop()
	group.Wait()
	if through.Load() != 0 || tried.Load() < 10 {
		t.Errorf("%d of %d connections of a blocked source got through", through.Load(), tried.Load())
	}
	held.check("at the end")
	load.finish()
}

// dialFor connects from an address of the client's, if that goes fast.
func (n *network) dialFor(ctx context.Context, from netip.Addr, to netip.AddrPort, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return n.Client.DialFrom(ctx, "tcp", netip.AddrPortFrom(from, 0), to)
}

// TestRates: a source gets as many connections, and flows of UDP, as its limit and
// then those that the rate gives, and takes nothing from others.
func TestRates(t *testing.T) {
	for _, c := range everywhere {
		t.Run(c.forward+"/"+c.attach, func(t *testing.T) {
			n := newNetwork(t, testlab.TopologyOptions{Shape: c.shape, Backends: 2, BackendsHoldVIPs: c.forward == "l2dsr"})
			other := n.another(false, 40)
			const burst = 5
			limits := fmt.Sprintf("probe: none\nforward: %s\nrate_per_source: {per_second: 1, burst: %d}\nrate: {per_second: 1000, burst: 1000}", c.forward, burst)
			tcp := service{name: "tcp", weights: []int{1, 1}, more: limits}
			udp := service{name: "udp", protocol: "udp", weights: []int{1, 1}, more: limits}
			n.run(n.config("attach: "+c.attach, tcp, udp))

			began, opened, asked := time.Now(), 0, 0
			for range 3 * burst {
				if conn, err := n.dialFor(context.Background(), n.Client4, tcp.frontend(n), 40*time.Millisecond); err == nil {
					defer conn.Close()
					opened++
				}
				if _, _, err := n.Client.AskUDP(context.Background(), udp.frontend(n), []byte("ask"), 1, 40*time.Millisecond); err == nil {
					asked++
				}
			}
			most := burst + 1 + int(time.Since(began)/time.Second)
			for what, got := range map[string]int{"connections": opened, "flows of UDP": asked} {
				if got < burst || got > most {
					t.Errorf("%d %s of one source, want %d to %d", got, what, burst, most)
				}
			}
			if _, err := n.getFrom(other, tcp.frontend(n), 10*time.Second); err != nil {
				t.Errorf("another source: %v", err)
			}
			for _, s := range []service{tcp, udp} {
				if r := n.detail(s.name).Refused; r.RatePerSource == 0 || r.Rate != 0 || r.Denied != 0 {
					t.Errorf("service %s refused %+v", s.name, r)
				}
			}
		})
	}
}

// TestMaxConnections: beyond the limit nobody gets in, until somebody leaves.
func TestMaxConnections(t *testing.T) {
	t.Parallel()
	for _, c := range everywhere {
		t.Run(c.forward+"/"+c.attach, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, testlab.TopologyOptions{Shape: c.shape, Backends: 2, BackendsHoldVIPs: c.forward == "l2dsr"})
			s := service{name: "web", weights: []int{1, 1}, more: "probe: none\nforward: " + c.forward + "\nmax_connections: 3"}
			n.run(n.config("attach: "+c.attach, s))
			dial := func(timeout time.Duration) (net.Conn, error) {
				return n.dialFor(context.Background(), n.Client4, s.frontend(n), timeout)
			}
			var open []net.Conn
			for range 3 {
				conn := must(dial(10 * time.Second))(t)
				defer conn.Close()
				open = append(open, conn)
			}
			for range 5 {
				if conn, err := dial(silence / 5); err == nil {
					conn.Close()
					t.Error("a fourth connection got in")
				}
			}
			if r := n.detail("web"); r.Rules.Connections != 3 || r.Refused.MaxConnections < 5 {
				t.Errorf("%d are open, %d were refused", r.Rules.Connections, r.Refused.MaxConnections)
			}
			if err := open[0].Close(); err != nil {
				t.Fatal(err)
			}
			n.eventually("there is room again", func() string {
				conn, err := dial(silence)
				if err != nil {
					return err.Error()
				}
				defer conn.Close()
				return ""
			})
		})
	}
}

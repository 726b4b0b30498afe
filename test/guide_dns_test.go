package test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/internal/testlab/servers"
	"github.com/xlb-io/xlb/pkg/api"
)

// TestGuideDNS follows the guide to DNS servers with real ones, and questions over
// UDP and TCP all the time.
func TestGuideDNS(t *testing.T) {
	t.Parallel()
	needs(t, "named", "dig")
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 3})
	n.patience = 60 * time.Second
	g := n.guide("dns.md")
	named := g.start("")
	u, c := n.askAll("udp"), n.askAll("tcp")
	g.sees()

	g.steps(1)
	n.awaitStateAt(0, api.StateDraining, "")
	u.others(0, "drained")
	c.others(0, "drained")
	n.awaitEmpty(0)
	if err := named[0].Stop(); err != nil {
		t.Fatal(err)
	}
	u.others(0, "stopped")
	c.others(0, "stopped")
	if err := named[0].Start(); err != nil {
		t.Fatal(err)
	}
	g.steps(2)
	n.awaitStateAt(0, api.StateHealthy, "")
	u.from(0)
	c.from(0)
	u.finish()
	c.finish()

	for _, e := range []struct {
		what, reason string
		away, back   func() error
	}{
		{"without its zone", "SERVFAIL", named[1].LoseZone, func() error { return named[1].SetRecords(zoneOf(1)...) }},
		{"killed", "", named[1].Kill, named[1].Start},
		{"hanging", "", named[1].Freeze, named[1].Thaw},
	} {
		if err := e.away(); err != nil {
			t.Fatal(err)
		}
		n.awaitStateAt(1, api.StateUnhealthy, e.reason)
		u, c := n.askAll("udp"), n.askAll("tcp")
		u.others(1, e.what)
		c.others(1, e.what)
		g.sees()
		if out := g.steps(len(g.blocks("sh root", 4)) - 1); !strings.Contains(out, "unhealthy") || !strings.Contains(out, e.reason) {
			t.Errorf("%s: xlb prints\n%s", e.what, out)
		}
		u.finish()
		c.finish()
		if err := e.back(); err != nil {
			t.Fatal(err)
		}
		n.awaitStateAt(1, api.StateHealthy, "")
	}
}

// zoneOf are the records of the i-th server, by one of which it can be told.
func zoneOf(i int) []string {
	return []string{"probe IN A 192.0.2.1", "www IN A 192.0.2.80", fmt.Sprintf("whoami IN TXT backend%d", i+1)}
}

// start starts the servers, and the balancer with the guide's configuration and
// further defaults.
func (g guide) start(defaults string) (named []*servers.BIND) {
	g.n.t.Helper()
	for i, b := range g.n.Backends {
		named = append(named, must(servers.StartBIND(b.Namespace, 53, "example.com", zoneOf(i)...))(g.n.t))
	}
	g.n.run(fmt.Sprintf("interfaces: [%s]\ntable_size: 1009\nservices: {}\n", strings.Join(g.n.Interfaces, ", ")))
	g.n.write("table_size: 1009\n" + strings.Replace(g.blocks("yaml", 1)[0], "defaults:\n", "defaults:\n"+defaults, 1))
	g.steps(0)
	for i := range named {
		g.n.awaitStateAt(i, api.StateHealthy, "")
	}
	return named
}

// sees runs the guide's questions, which must be answered.
func (g guide) sees() {
	g.n.t.Helper()
	if out := g.see(); out != "192.0.2.80\n192.0.2.80\n" {
		g.n.t.Errorf("the guide's questions are answered by %q", out)
	}
}

// question asks who answers.
func question(conn net.Conn) (server string, err error) {
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	ask, c := new(dns.Msg).SetQuestion("whoami.example.com.", dns.TypeTXT), &dns.Conn{Conn: conn}
	if err := c.WriteMsg(ask); err != nil {
		return "", err
	}
	m, err := c.ReadMsg()
	switch {
	case err != nil:
		return "", err
	case m.Id != ask.Id || m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1:
		return "", fmt.Errorf("the answer is %v", m)
	}
	return m.Answer[0].(*dns.TXT).Txt[0], nil
}

// asker asks one question after the other.
type asker struct {
	n        *network
	protocol string
	stop     context.CancelFunc
	wg       sync.WaitGroup

	// asked are the addresses it asked from.
	asked map[string]bool

	mu            sync.Mutex
	answers       map[string]int
	again, failed int
	first         error // why a question failed
}

func (n *network) askAll(protocol string) *asker {
	ctx, stop := context.WithCancel(context.Background())
	a := &asker{n: n, protocol: protocol, stop: stop, asked: map[string]bool{}, answers: map[string]int{}}
	n.t.Cleanup(func() { stop(); a.wg.Wait() })
	a.wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				a.ask()
			}
		}
	})
	return a
}

// ask does as clients do: a question without an answer is asked three times.
func (a *asker) ask() {
	var errs []error
	for range 3 {
		name, err := a.once()
		if err == nil {
			a.mu.Lock()
			a.answers[name]++
			a.again += len(errs)
			a.mu.Unlock()
			return
		}
		errs = append(errs, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed++
	if a.first == nil {
		a.first = errors.Join(errs...)
	}
}

func (a *asker) once() (server string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := a.dial(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return question(conn)
}

// dial begins a flow. From an address that was asked from it could be the flow that it
// was, which a server that drains keeps.
func (a *asker) dial(ctx context.Context) (net.Conn, error) {
	for {
		conn, err := a.n.Client.Dial(ctx, a.protocol, netip.AddrPortFrom(a.n.VIP4, 53).String())
		if err != nil {
			return nil, err
		}
		from := conn.LocalAddr().String()
		if !a.asked[from] {
			a.asked[from] = true
			return conn, nil
		}
		conn.Close()
	}
}

func (a *asker) counts() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.answers)
}

// more waits for some more answers and returns all until then.
func (a *asker) more(answers int) map[string]int {
	a.n.t.Helper()
	begin := total(a.counts())
	a.n.eventually(fmt.Sprintf("%d more answers over %s", answers, a.protocol), func() string {
		if got := total(a.counts()) - begin; got < answers {
			return fmt.Sprintf("%d answers", got)
		}
		return ""
	})
	return a.counts()
}

// others checks that from now on a server answers nothing, and the others do. A
// question may be under way.
func (a *asker) others(i int, what string) {
	a.n.t.Helper()
	name := a.n.Backends[i].Name
	before := a.more(2)
	if after := a.more(100); after[name] != before[name] {
		a.n.t.Errorf("%s: %s answers over %s: before %v, after %v", what, name, a.protocol, before, after)
	}
}

// from waits for an answer of a server.
func (a *asker) from(i int) {
	a.n.t.Helper()
	name := a.n.Backends[i].Name
	begin := a.counts()[name]
	a.n.eventually(name+" answers over "+a.protocol, func() string {
		if counts := a.counts(); counts[name] == begin {
			return fmt.Sprint(counts)
		}
		return ""
	})
}

// finish ends the questions, of which none may have failed.
func (a *asker) finish() {
	a.n.t.Helper()
	a.stop()
	a.wg.Wait()
	if a.failed > 0 {
		a.n.t.Errorf("%d of %d questions over %s failed, the first: %v", a.failed, a.failed+total(a.answers), a.protocol, a.first)
	}
	a.n.t.Logf("%d questions over %s, %d of them asked again, answered by %v", total(a.answers), a.protocol, a.again, a.answers)
}

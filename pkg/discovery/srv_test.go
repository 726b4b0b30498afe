package discovery

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// TestBrokenTarget: a target whose own zone does not answer keeps its last
// addresses and harms no other; but if none can be resolved it is the resolver.
func TestBrokenTarget(t *testing.T) {
	var badBroken, goodBroken, moved atomic.Bool
	server := serveDNS(t, func(w dns.ResponseWriter, q *dns.Msg) {
		switch name := q.Question[0].Name; {
		case name == "_web._tcp.test.":
			says(t, name+" 0 IN SRV 0 1 80 good.test.", name+" 0 IN SRV 0 1 80 bad.example.")(w, q)
		case name == "bad.example." && badBroken.Load(), name == "good.test." && goodBroken.Load():
			refuses(dns.RcodeServerFailure)(w, q)
		case name == "bad.example." && moved.Load():
			says(t, name+" 0 IN A 192.0.2.3")(w, q)
		case name == "bad.example.":
			says(t, name+" 0 IN A 192.0.2.2")(w, q)
		default:
			says(t, name+" 0 IN A 192.0.2.1")(w, q)
		}
	})
	source := srvOf("_web._tcp.test", server)
	source.SRV.IPv6 = false

	badBroken.Store(true)
	f := follow(t, New(source))
	a := f.wants("192.0.2.1:80")
	if len(a.warnings) != 1 || !strings.Contains(a.warnings[0], "target bad.example.: ") || !strings.Contains(a.warnings[0], "SERVFAIL (left out)") {
		t.Errorf("warnings are %v", a.warnings)
	}
	badBroken.Store(false)
	f.wants("192.0.2.1:80", "192.0.2.2:80")
	badBroken.Store(true)
	a = f.until("a warning", func(a heard) bool { return len(a.warnings) > 0 })
	if len(a.backends) != 2 || !strings.Contains(a.warnings[0], "(its last addresses stay)") {
		t.Errorf("with a broken target: %v", a)
	}
	goodBroken.Store(true)
	f.fails("none of the targets can be resolved: bad.example. A: ")
	goodBroken.Store(false)
	badBroken.Store(false)
	moved.Store(true)
	f.wants("192.0.2.1:80", "192.0.2.3:80")
}

// TestBrokenTargetAlone: that the only target that must be asked for cannot be
// resolved harms none of those that came along.
func TestBrokenTargetAlone(t *testing.T) {
	server := serveDNS(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if name := q.Question[0].Name; name != "_web._tcp.test." {
			refuses(dns.RcodeRefused)(w, q)
			return
		}
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{rr(t, "_web._tcp.test. 9 IN SRV 0 1 80 good.test."), rr(t, "_web._tcp.test. 9 IN SRV 0 1 80 bad.example.")}
		m.Extra = []dns.RR{rr(t, "good.test. 9 IN A 192.0.2.1")}
		_ = w.WriteMsg(m)
	})
	source := srvOf("_web._tcp.test", server)
	source.SRV.IPv6 = false
	a := follow(t, New(source)).next()
	if a.err != nil || len(a.backends) != 1 || len(a.warnings) != 1 || !strings.Contains(a.warnings[0], "target bad.example.: ") {
		t.Errorf("it said %s", a)
	}
}

func TestSRVBackends(t *testing.T) {
	s := newSRV(srvOf("x", "y")).(*srvSource)
	s.backend.Priority, s.backend.Weight = 250, 3
	var rrs []dns.RR
	for i := range 8 {
		rrs = append(rrs, rr(t, fmt.Sprintf("x. 1 IN SRV %d %d 80 t%d.", i*100, i%3, i)))
	}
	rrs = append(rrs, rr(t, "x. 1 IN SRV 900 9 80 t0."), rr(t, "x. 1 IN SRV 0 60000 80 t9."), rr(t, "x. 1 IN SRV 65535 1 80 ."))
	targets := make(map[string]found)
	for i := range 10 {
		targets[fmt.Sprintf("t%d.", i)] = found{addresses: addresses(fmt.Sprintf("192.0.2.%d", i))}
	}
	backends, warnings := s.backends(offered(rrs), targets)
	got := make([]string, len(backends))
	for i, b := range backends {
		got[i] = describe(b)
	}
	want := []string{
		"192.0.2.0:80 priority=250", // 0 among others, and named again with a later priority
		"192.0.2.9:80 weight=60000 priority=250",
		"192.0.2.1:80 priority=251",
		"192.0.2.2:80 weight=2 priority=252",
		"192.0.2.3:80 weight=3 priority=253", // alone with 0: the source's
		"192.0.2.4:80 priority=254",
		"192.0.2.5:80 weight=2 priority=255",
		"192.0.2.6:80 weight=3 priority=255", // there are no more tiers
		"192.0.2.7:80 priority=255",
	}
	same(t, "backends", got, want)
	if len(warnings) != 0 {
		t.Errorf("warnings: %v", warnings)
	}
}

// TestDNSMasq: what a forwarder with a cache says, which counts the TTL down, and
// serves records of its own.
func TestDNSMasq(t *testing.T) {
	b := startBind(t, "web 3 IN A 192.0.2.1\n_web._tcp 3 IN SRV 0 5 8080 web")
	masq, port := installed(t, "dnsmasq"), freePorts(t, 1)[0]
	address := fmt.Sprintf("127.0.0.1:%d", port)
	start(t, dialable(address), masq, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=", "--user=",
		"--listen-address=127.0.0.1", "--bind-interfaces", fmt.Sprintf("--port=%d", port),
		"--server=/xlb.test/"+strings.Replace(b.address, ":", "#", 1),
		"--srv-host=_own._tcp.lan,printer.lan,631,1,2", "--host-record=printer.lan,192.0.2.7,2001:db8::7")

	f := follow(t, New(dnsOf("web.xlb.test", address)))
	first := f.wants("192.0.2.1:80")
	follow(t, New(srvOf("_web._tcp.xlb.test", address))).wants("192.0.2.1:8080 weight=5")
	follow(t, New(srvOf("_own._tcp.lan", address))).wants("192.0.2.7:631 weight=2", "[2001:db8::7]:631 weight=2")
	follow(t, New(dnsOf("nothing.xlb.test", address))).wants()

	b.change("web 3 IN A 192.0.2.2")
	if a := f.wants("192.0.2.2:80"); a.at.Sub(first.at) > patience/2 {
		t.Errorf("the change took %s, with a TTL of 3 s", a.at.Sub(first.at))
	}
}

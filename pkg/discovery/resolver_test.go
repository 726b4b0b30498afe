package discovery

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xlb-io/xlb/pkg/model"
)

// serveDNS serves what handle says, on UDP and TCP, and returns the address.
func serveDNS(t *testing.T, handle dns.HandlerFunc) string {
	t.Helper()
	listener, packets, err := listenBoth(freePorts(t, 1)[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: handle}, {Listener: listener, Handler: handle}} {
		started, ended := make(chan struct{}), make(chan error, 1)
		s.NotifyStartedFunc = func() { close(started) }
		go func() { ended <- s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			if err := s.Shutdown(); err != nil {
				t.Error(err)
			}
			<-ended
		})
	}
	return packets.LocalAddr().String()
}

func rr(t *testing.T, text string) dns.RR {
	t.Helper()
	r, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// says answers every question with these records, and with those for the
// authority section that begin with "; ".
func says(t *testing.T, records ...string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		for _, text := range records {
			if text, ok := strings.CutPrefix(text, "; "); ok {
				m.Ns = append(m.Ns, rr(t, text))
			} else {
				m.Answer = append(m.Answer, rr(t, text))
			}
		}
		_ = w.WriteMsg(m)
	}
}

func refuses(code int) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetRcode(q, code)) }
}

func resolverOf(servers ...string) resolver {
	return newResolver(model.Resolvers{Servers: servers, Timeout: 300 * time.Millisecond, MinTTL: time.Second, MaxTTL: time.Minute})
}

func TestLookup(t *testing.T) {
	chain := []string{"web.test. 60 IN CNAME a.test.", "a.test. 5 IN CNAME b.test.", "b.test. 30 IN A 192.0.2.1"}
	soa := "; test. 100 IN SOA ns.test. root.test. 1 2 3 4 7"
	loop := []string{"web.test. 60 IN CNAME a.test.", "a.test. 5 IN CNAME web.test."}
	partial := func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Name == "web.test." {
			says(t, "web.test. 60 IN CNAME elsewhere.test.")(w, q)
		} else {
			says(t, "elsewhere.test. 9 IN A 192.0.2.2")(w, q)
		}
	}
	for name, c := range map[string]struct {
		handle dns.HandlerFunc
		want   string // addresses
		ttl    time.Duration
		err    string
	}{
		"chain in one answer":     {says(t, chain...), "192.0.2.1", 5 * time.Second, ""},
		"chain in two answers":    {partial, "192.0.2.2", 9 * time.Second, ""},
		"loop":                    {says(t, loop...), "", 0, "more than 16 aliases"},
		"other name":              {says(t, "web.example. 60 IN A 192.0.2.1"), "", forever, ""},
		"case":                    {says(t, "WEB.test. 60 IN A 192.0.2.1"), "192.0.2.1", time.Minute, ""},
		"twice":                   {says(t, "web.test. 60 IN A 192.0.2.1", "web.test. 60 IN A 192.0.2.1"), "192.0.2.1", time.Minute, ""},
		"absurd TTL":              {says(t, "web.test. 4294967295 IN A 192.0.2.1"), "192.0.2.1", 0, ""},
		"no records":              {says(t, soa), "", 7 * time.Second, ""},
		"no records, none says":   {says(t), "", forever, ""},
		"no such name":            {refuses(dns.RcodeNameError), "", forever, ""},
		"failure":                 {refuses(dns.RcodeServerFailure), "", 0, "web.test. A: %s: answers SERVFAIL"},
		"refused":                 {refuses(dns.RcodeRefused), "", 0, "answers REFUSED"},
		"unknown code":            {refuses(14), "", 0, "answers with the unknown code 14"},
		"referral":                {referral(t), "", 0, "refers to other servers"},
		"alias of a missing name": {says(t, "web.test. 60 IN CNAME a.test.", soa), "", 7 * time.Second, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := serveDNS(t, c.handle)
			f, err := resolverOf(server).addresses(t.Context(), "web.test", true, false)
			if c.err != "" {
				if want := strings.ReplaceAll(c.err, "%s", server); err == nil || !strings.Contains(err.Error(), want) {
					t.Fatalf("error is %v, want %s", err, want)
				}
				return
			}
			if got := strings.Trim(fmt.Sprint(f.addresses), "[]"); err != nil || got != c.want || f.ttl != c.ttl {
				t.Errorf("addresses are %q for %s (%v), want %q for %s", got, f.ttl, err, c.want, c.ttl)
			}
		})
	}
}

func referral(t *testing.T) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Ns = []dns.RR{rr(t, "test. 60 IN NS ns.elsewhere.")}
		_ = w.WriteMsg(m)
	}
}

func TestHold(t *testing.T) {
	r := resolver{Resolvers: model.Resolvers{MinTTL: 2 * time.Second, MaxTTL: time.Minute}}
	for _, c := range []struct {
		ttl   time.Duration
		empty bool
		want  time.Duration
	}{
		{0, false, 2 * time.Second},
		{30 * time.Second, false, 30 * time.Second},
		{time.Hour, false, time.Minute},
		{forever, false, time.Minute},
		{time.Hour, true, maxNegative},
		{forever, true, maxNegative},
		{time.Second, true, 2 * time.Second},
	} {
		if got := r.hold(c.ttl, c.empty); got != c.want {
			t.Errorf("an answer for %s (empty: %t) holds for %s, want %s", c.ttl, c.empty, got, c.want)
		}
	}
}

// TestFamilies: half of an answer is none.
func TestFamilies(t *testing.T) {
	broken := atomic.Bool{}
	server := serveDNS(t, func(w dns.ResponseWriter, q *dns.Msg) {
		switch {
		case q.Question[0].Qtype == dns.TypeA:
			says(t, "web.test. 60 IN A 192.0.2.1")(w, q)
		case broken.Load():
			refuses(dns.RcodeServerFailure)(w, q)
		default:
			says(t, "web.test. 20 IN AAAA 2001:db8::1")(w, q)
		}
	})
	r := resolverOf(server)
	f, err := r.addresses(t.Context(), "web.test", true, true)
	if want := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}; err != nil || fmt.Sprint(f.addresses) != fmt.Sprint(want) || f.ttl != 20*time.Second {
		t.Errorf("addresses are %v for %s (%v), want %v for 20s", f.addresses, f.ttl, err, want)
	}
	broken.Store(true)
	if f, err := r.addresses(t.Context(), "web.test", true, true); err == nil {
		t.Errorf("addresses are %v although AAAA fails", f.addresses)
	}
	if f, err := r.addresses(t.Context(), "web.test", true, false); err != nil || len(f.addresses) != 1 {
		t.Errorf("A alone gives %v (%v)", f.addresses, err)
	}
}

// TestForgedAnswers: what comes from somebody who guesses is not believed, and
// does not hide the answer.
func TestForgedAnswers(t *testing.T) {
	for name, forge := range map[string]func(*dns.Msg){
		"id":         func(m *dns.Msg) { m.Id++ },
		"name":       func(m *dns.Msg) { m.Question[0].Name = "web.tset." },
		"type":       func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA },
		"class":      func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
		"no reply":   func(m *dns.Msg) { m.Response = false },
		"no name":    func(m *dns.Msg) { m.Question = nil },
		"two names":  func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
		"is garbage": nil,
		"is short":   nil,
	} {
		t.Run(name, func(t *testing.T) {
			server := serveDNS(t, func(w dns.ResponseWriter, q *dns.Msg) {
				switch {
				case forge != nil:
					m := new(dns.Msg).SetReply(q)
					m.Answer = []dns.RR{rr(t, "web.test. 60 IN A 203.0.113.66")}
					forge(m)
					_ = w.WriteMsg(m)
				case name == "is short":
					_, _ = w.Write([]byte{1, 2, 3})
				default:
					_, _ = w.Write([]byte("this is no message, but longer than a header"))
				}
				says(t, "web.test. 60 IN A 192.0.2.1")(w, q)
			})
			f, err := resolverOf(server).addresses(t.Context(), "web.test", true, false)
			if err != nil || fmt.Sprint(f.addresses) != "[192.0.2.1]" {
				t.Errorf("addresses are %v (%v)", f.addresses, err)
			}
		})
	}
}

// TestTruncation: the rest comes over TCP, also when the server cuts a datagram
// off anywhere; and what is not there either is an error.
func TestTruncation(t *testing.T) {
	var mangle, never atomic.Bool
	server := serveDNS(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		for i := range 100 {
			m.Answer = append(m.Answer, rr(t, fmt.Sprintf("web.test. 60 IN A 192.0.2.%d", i)))
		}
		if w.RemoteAddr().Network() == "tcp" {
			m.Truncated = never.Load()
			_ = w.WriteMsg(m)
			return
		}
		if size := q.IsEdns0().UDPSize(); size != ednsSize {
			t.Errorf("the request says that %d bytes fit, want %d", size, ednsSize)
		}
		m.Truncated = true
		wire, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		if mangle.Load() {
			_, _ = w.Write(wire[:501])
			return
		}
		m.Truncate(ednsSize)
		_ = w.WriteMsg(m)
	})
	for range 2 {
		f, err := resolverOf(server).addresses(t.Context(), "web.test", true, false)
		if err != nil || len(f.addresses) != 100 {
			t.Errorf("%d addresses (%v), want 100", len(f.addresses), err)
		}
		mangle.Store(true)
	}
	never.Store(true)
	if _, err := resolverOf(server).addresses(t.Context(), "web.test", true, false); err == nil || !strings.Contains(err.Error(), "truncated, even over TCP") {
		t.Errorf("error is %v", err)
	}
}

// TestOldServer: one that does not know EDNS0 is asked without.
func TestOldServer(t *testing.T) {
	server := serveDNS(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.IsEdns0() != nil {
			m := new(dns.Msg).SetRcodeFormatError(q)
			m.Question = nil
			_ = w.WriteMsg(m)
			return
		}
		says(t, "web.test. 60 IN A 192.0.2.1")(w, q)
	})
	f, err := resolverOf(server).addresses(t.Context(), "web.test", true, false)
	if err != nil || len(f.addresses) != 1 {
		t.Errorf("addresses are %v (%v)", f.addresses, err)
	}
}

// TestLostDatagram: one lost datagram is not the loss of the server.
func TestLostDatagram(t *testing.T) {
	asked := atomic.Int32{}
	server := serveDNS(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if asked.Add(1) == 2 {
			says(t, "web.test. 60 IN A 192.0.2.1")(w, q)
		}
	})
	f, err := resolverOf(server).addresses(t.Context(), "web.test", true, false)
	if err != nil || len(f.addresses) != 1 {
		t.Errorf("addresses are %v (%v)", f.addresses, err)
	}
}

// TestServersInOrder: each that does not say is passed over, the first that
// does is believed, and those after it are not asked.
func TestServersInOrder(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed := fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	failing := serveDNS(t, refuses(dns.RcodeServerFailure))
	good := serveDNS(t, says(t, "web.test. 60 IN A 192.0.2.1"))
	last := serveDNS(t, func(w dns.ResponseWriter, q *dns.Msg) {
		t.Error("a server after the one that answered was asked")
		refuses(dns.RcodeNameError)(w, q)
	})
	servers := []string{closed, silent.LocalAddr().String(), failing, good, last}
	f, err := resolverOf(servers...).addresses(t.Context(), "web.test", true, false)
	if err != nil || len(f.addresses) != 1 {
		t.Errorf("addresses are %v (%v)", f.addresses, err)
	}

	_, err = resolverOf(servers[:3]...).addresses(t.Context(), "web.test", true, false)
	want := fmt.Sprintf("web.test. A: %s: connection refused; %s: no answer in time; %s: answers SERVFAIL", servers[0], servers[1], servers[2])
	if err == nil || strings.ReplaceAll(err.Error(), "read: ", "") != want {
		t.Errorf("error is\n%v, want\n%s", err, want)
	}
	empty := serveDNS(t, refuses(dns.RcodeNameError))
	if f, err := resolverOf(empty, last).addresses(t.Context(), "web.test", true, false); err != nil || len(f.addresses) != 0 {
		t.Errorf("of a name that is not there: %v (%v)", f.addresses, err)
	}
}

func TestResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	r := resolver{conf: path}
	if _, err := r.servers(); err == nil || !strings.Contains(err.Error(), "name servers of this machine") {
		t.Errorf("error without the file is %v", err)
	}
	write(t, path, "search example.com\n")
	if _, err := r.servers(); err == nil || !strings.Contains(err.Error(), "names no server") {
		t.Errorf("error without servers is %v", err)
	}
	write(t, path, "# a comment\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nnameserver fe80::1%eth0\noptions edns0\n")
	got, err := r.servers()
	if want := "[192.0.2.53:53 [2001:db8::53]:53 [fe80::1%eth0]:53]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("servers are %v (%v), want %s", got, err, want)
	}
}

// TestCancelledLookup ends at once, whatever it waits for.
func TestCancelledLookup(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	r := resolverOf(silent.LocalAddr().String())
	r.Timeout = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.addresses(ctx, "web.test", true, true); err == nil {
		t.Error("a lookup without an answer has no error")
	}
}

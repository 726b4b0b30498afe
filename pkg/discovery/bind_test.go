package discovery

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

// bind is a real BIND that serves the zone xlb.test.
type bind struct {
	*server
	address string
	zone    string
	serial  int
}

func startBind(t *testing.T, records string) *bind {
	t.Helper()
	named, dir, port := installed(t, "named"), t.TempDir(), freePorts(t, 1)[0]
	b := &bind{address: fmt.Sprintf("127.0.0.1:%d", port), zone: filepath.Join(dir, "zone")}
	conf := filepath.Join(dir, "named.conf")
	write(t, conf, fmt.Sprintf(`
options {
	directory %q;
	listen-on port %d { 127.0.0.1; };
	listen-on-v6 { none; };
	pid-file none;
	session-keyfile none;
	recursion no;
	max-records-per-type 1000;
	querylog yes;
};
controls { };
zone "xlb.test" { type primary; file "zone"; };
zone "broken.test" { type primary; file "not-there"; };
`, dir, port))
	b.server = &server{t: t, out: new(testlab.Buffer), argv: []string{named, "-g", "-n", "1", "-c", conf}}
	b.write(records)
	t.Cleanup(b.stop)
	b.server.start(dialable(b.address))
	return b
}

// write makes the records those of the zone, with TTL 1 by default.
func (b *bind) write(records string) {
	b.serial++
	write(b.t, b.zone, fmt.Sprintf("$ORIGIN xlb.test.\n$TTL 1\n@ IN SOA ns root %d 3600 600 86400 1\n@ IN NS ns\nns IN A 127.0.0.1\n%s\n", b.serial, records))
}

// change has a running BIND read other records.
func (b *bind) change(records string) {
	b.write(records)
	b.signal(syscall.SIGHUP)
}

// queries counts the queries that BIND has logged for a name and type, those
// over TCP alone if tcp.
func (b *bind) queries(name, kind string, tcp bool) int {
	flags := `\S*`
	if tcp {
		flags = `\S*T\S*`
	}
	return len(regexp.MustCompile(`query: `+regexp.QuoteMeta(name)+` IN `+kind+` [-+]`+flags+` `).FindAllString(b.out.String(), -1))
}

func dnsOf(name string, servers ...string) model.Source {
	return model.Source{
		Type: model.SourceDNS, Backend: model.Backend{Address: portOnly(80), Weight: 1},
		DNS: model.DNSSource{
			Name: name, IPv4: true, IPv6: true,
			Resolvers: model.Resolvers{Servers: servers, Timeout: time.Second, MinTTL: 100 * time.Millisecond, MaxTTL: time.Minute},
		},
	}
}

func srvOf(name string, servers ...string) model.Source {
	s := dnsOf(name, servers...)
	s.Type, s.SRV, s.DNS = model.SourceSRV, model.SRVSource(s.DNS), model.DNSSource{}
	s.Backend.Address = portOnly(0)
	return s
}

// TestDNSAtBind follows a name through all that may happen to it.
func TestDNSAtBind(t *testing.T) {
	b := startBind(t, "web IN CNAME rack\nrack IN A 192.0.2.1\nrack IN AAAA 2001:db8::1")
	source := dnsOf("web.xlb.test", b.address)
	source.Backend.Weight, source.Backend.Zone = 7, "north"
	f := follow(t, New(source))
	f.wants("192.0.2.1:80 weight=7 zone=north", "[2001:db8::1]:80 weight=7 zone=north")

	b.change("web IN CNAME rack\nrack IN A 192.0.2.1\nrack IN A 192.0.2.2")
	f.wants("192.0.2.1:80 weight=7 zone=north", "192.0.2.2:80 weight=7 zone=north")

	b.change("web IN TXT none")
	f.wants()
	b.change("other IN A 192.0.2.1")
	f.wants()

	b.stop()
	f.fails("connection refused")
	b.write("web IN A 192.0.2.9")
	b.start(dialable(b.address))
	f.wants("192.0.2.9:80 weight=7 zone=north")
}

// TestTTL: an answer is asked for again when it has grown as old as it may, and
// not before.
func TestTTL(t *testing.T) {
	b := startBind(t, "web 2 IN A 192.0.2.1\nlong 3600 IN A 192.0.2.1\nnow 0 IN A 192.0.2.1\nalias 1 IN CNAME long")
	for name, want := range map[string]time.Duration{
		"web":   2 * time.Second,
		"long":  1500 * time.Millisecond, // max_ttl, in this test
		"now":   100 * time.Millisecond,  // min_ttl
		"alias": time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := dnsOf(name+".xlb.test", b.address)
			source.DNS.IPv6 = false
			if name == "long" {
				source.DNS.MaxTTL = want
			}
			f := follow(t, New(source))
			first := f.next()
			if second := f.next(); first.err != nil || second.err != nil || second.at.Sub(first.at) < want || second.at.Sub(first.at) > want+3*time.Second {
				t.Errorf("the next answer came after %s (%v, %v), want %s", second.at.Sub(first.at), first, second, want)
			}
		})
	}
}

// TestManyRecords: what does not fit a datagram comes over TCP.
func TestManyRecords(t *testing.T) {
	var zone strings.Builder
	var want []string
	for i := range 200 {
		fmt.Fprintf(&zone, "web 60 IN A 192.0.2.%d\n", i)
		want = append(want, fmt.Sprintf("192.0.2.%d:80", i))
	}
	b := startBind(t, zone.String())
	follow(t, New(dnsOf("web.xlb.test", b.address))).wants(want...)
	eventually(t, func() error { // the log is written later
		if b.queries("web.xlb.test", "A", true) == 0 {
			return errors.New("no query came over TCP:\n" + b.out.String())
		}
		return nil
	})
}

// TestOtherServers: a server that fails, or refuses, is not the last word.
func TestOtherServers(t *testing.T) {
	one := startBind(t, "")
	two := startBind(t, "web IN A 192.0.2.1")
	three := serveDNS(t, says(t, "web.broken.test. 60 IN A 192.0.2.3", "web.elsewhere.test. 60 IN A 192.0.2.4"))
	closed := fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	follow(t, New(dnsOf("web.xlb.test", closed, two.address))).wants("192.0.2.1:80")
	v4 := func(s model.Source) Source {
		s.DNS.IPv6 = false
		return New(s)
	}
	follow(t, v4(dnsOf("web.broken.test", one.address, three))).wants("192.0.2.3:80")
	follow(t, v4(dnsOf("web.elsewhere.test", one.address, three))).wants("192.0.2.4:80")
	follow(t, v4(dnsOf("web.broken.test", one.address))).fails("answers SERVFAIL")
	follow(t, v4(dnsOf("web.elsewhere.test", one.address))).fails("answers REFUSED")
}

// TestSRVAtBind follows service records through all that may happen to them.
func TestSRVAtBind(t *testing.T) {
	const hosts = "a IN A 192.0.2.1\na IN AAAA 2001:db8::1\nb IN A 192.0.2.2\nc IN A 192.0.2.3\n"
	b := startBind(t, hosts+`
_web._tcp IN SRV 10 60 8080 a
_web._tcp IN SRV 10 0 8080 b
_web._tcp IN SRV 20 0 8081 c
_web._tcp IN SRV 20 0 8082 b
_web._tcp IN SRV 30 5 8080 a`)
	source := srvOf("_web._tcp.xlb.test", b.address)
	source.Backend.Weight, source.Backend.Zone = 4, "north"
	f := follow(t, New(source))
	f.wants("192.0.2.1:8080 weight=60 zone=north", "[2001:db8::1]:8080 weight=60 zone=north",
		"192.0.2.2:8080 zone=north",
		"192.0.2.3:8081 weight=4 priority=1 zone=north", "192.0.2.2:8082 weight=4 priority=1 zone=north")

	b.change(hosts + "_web._tcp IN SRV 7 2 80 b")
	f.wants("192.0.2.2:80 weight=2 zone=north")
	b.change(hosts + "_web._tcp IN SRV 0 0 0 .")
	f.wants()
	b.change(hosts + "_web._tcp IN SRV 0 1 80 a\n_web._tcp IN SRV 0 1 80 missing")
	a := f.wants("192.0.2.1:80 zone=north", "[2001:db8::1]:80 zone=north")
	if want := "[target missing.xlb.test. has no address (left out)]"; fmt.Sprint(a.warnings) != want {
		t.Errorf("warnings are %v, want %s", a.warnings, want)
	}
	b.change(hosts)
	f.wants()
}

// TestAdditional: addresses that come along are not asked for again, the others
// are.
func TestAdditional(t *testing.T) {
	b := startBind(t, "_web._tcp 60 IN SRV 0 1 80 a\na 60 IN A 192.0.2.1\na 60 IN AAAA 2001:db8::1\n"+
		"_v4._tcp 60 IN SRV 0 1 80 b\nb 60 IN A 192.0.2.2")
	follow(t, New(srvOf("_web._tcp.xlb.test", b.address))).wants("192.0.2.1:80", "[2001:db8::1]:80")
	follow(t, New(srvOf("_v4._tcp.xlb.test", b.address))).wants("192.0.2.2:80")
	eventually(t, func() error {
		if b.queries("b.xlb.test.", "AAAA", false)+b.queries("b.xlb.test", "AAAA", false) == 0 {
			return errors.New("AAAA of b was not asked for:\n" + b.out.String())
		}
		return nil
	})
	for _, q := range [][2]string{{"a.xlb.test", "A"}, {"a.xlb.test", "AAAA"}, {"b.xlb.test", "A"}} {
		if n := b.queries(q[0], q[1], false); n != 0 {
			t.Errorf("%s %s was asked for %d times although it came along", q[0], q[1], n)
		}
	}
}

package servers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/xlb-io/xlb/internal/testlab/labtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gone checks that the server's directory went with its lab. Call it before Space.
func gone(t *testing.T, s **Server) {
	t.Cleanup(func() {
		if *s == nil {
			return
		}
		if _, err := os.Stat((*s).Dir); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", (*s).Dir, err)
		}
	})
}

var loopback = netip.MustParseAddr("127.0.0.1")

func certificate(t *testing.T) (*Authority, Pair) {
	t.Helper()
	a := labtest.Must(NewAuthority(t.TempDir()))(t)
	return a, labtest.Must(a.Issue("server", "localhost", "127.0.0.1"))(t)
}

func TestPostgres(t *testing.T) {
	var last *Server
	gone(t, &last)
	n := labtest.Space(t)
	_, pair := certificate(t)
	primary := labtest.Must(StartPostgres(n, 5432, PostgresOptions{Password: "secret'", TLS: pair}))(t)
	last = primary.Server
	labtest.Must(primary.SQL("CREATE TABLE t (n int); INSERT INTO t VALUES (7)"))(t)
	replica := labtest.Must(primary.Replica(n, 5433, loopback))(t)
	for p, want := range map[*Postgres]string{primary: "f", replica: "t"} {
		if got := labtest.Must(p.SQL("SELECT pg_is_in_recovery()"))(t); got != want {
			t.Errorf("port %d is in recovery: %s, want %s", p.Port, got, want)
		}
	}
	if got := labtest.Must(replica.SQL("SELECT n FROM t"))(t); got != "7" {
		t.Errorf("the replica has %q", got)
	}
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := replica.Promote(); err != nil {
		t.Fatal(err)
	}
	labtest.Must(replica.SQL("INSERT INTO t VALUES (8)"))(t)
	if err := primary.Start(); err != nil {
		t.Error(err)
	}
}

func TestRedis(t *testing.T) {
	n := labtest.Space(t)
	_, pair := certificate(t)
	primary := labtest.Must(StartRedis(n, 6379, RedisOptions{Password: "secret"}))(t)
	replica := labtest.Must(StartRedis(n, 6380, RedisOptions{Password: "secret", ReplicaOf: primary.At(loopback)}))(t)
	labtest.Must(StartRedis(n, 6381, RedisOptions{TLS: pair}))(t)
	if role := labtest.Must(primary.Command("ROLE"))(t); !strings.HasPrefix(role, "master") {
		t.Errorf("the primary's role: %s", role)
	}
	if role := labtest.Must(replica.Command("ROLE"))(t); !strings.HasPrefix(role, "slave") {
		t.Errorf("the replica's role: %s", role)
	}
	if _, err := replica.Command("REPLICAOF", "NO", "ONE"); err != nil {
		t.Error(err)
	}
	if _, err := replica.Command("NO-SUCH"); err == nil {
		t.Error("a command that there is not was obeyed")
	}
}

func TestNginx(t *testing.T) {
	n := labtest.Space(t)
	authority, pair := certificate(t)
	s := labtest.Must(StartNginx(n, 443, "server { "+Listen(443, "ssl http2")+" ssl_certificate "+pair.Certificate+"; ssl_certificate_key "+pair.Key+"; location / { return 200 hello; } }"))(t)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(labtest.Must(os.ReadFile(authority.File))(t))
	client := &http.Client{Transport: &http.Transport{
		DialContext: n.Dial, TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true, ForceAttemptHTTP2: true,
	}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://" + s.At(loopback).String())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.ProtoMajor != 2 {
		t.Errorf("it speaks %s", resp.Proto)
	}
}

func TestStopFreezeStart(t *testing.T) {
	n := labtest.Space(t)
	s := labtest.Must(StartMosquitto(n, 1883, MosquittoOptions{Users: map[string]string{"joe": "secret"}, WebSocketPort: 8083}))(t)
	if err := s.connects(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Start(); err == nil {
		t.Error("it started twice")
	}
	if err := s.Freeze(); err != nil {
		t.Error(err)
	}
	if err := s.Thaw(); err != nil {
		t.Error(err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if err := s.connects(t.Context()); err == nil {
		t.Error("it answers after its end")
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if err := s.Start(); err != nil {
		t.Error(err)
	}
}

func TestServerThatFails(t *testing.T) {
	n := labtest.Space(t)
	_, err := StartMosquitto(n, 1883, MosquittoOptions{Settings: []string{"no_such_thing true"}})
	if err == nil || !strings.Contains(err.Error(), "no_such_thing") {
		t.Errorf("the error does not hold what the server said: %v", err)
	}
}

func TestMariaDBEximDNSMasq(t *testing.T) {
	n := labtest.Space(t)
	_, pair := certificate(t)
	labtest.Must(StartMariaDB(n, 3306, MariaDBOptions{Users: map[string]string{"joe": "secret"}, TLS: pair}))(t)
	mail := labtest.Must(StartExim(n, 25, pair))(t)
	labtest.Must(StartDNSMasq(n, 53, "--host-record=www.example.com,192.0.2.1"))(t)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := n.Dial(ctx, "tcp", mail.At(loopback).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	line, err := textproto.NewConn(conn).ReadLine()
	if err != nil || !strings.HasPrefix(line, "220 mail.example.com") {
		t.Errorf("the mail server says %q, %v", line, err)
	}
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return n.Dial(ctx, network, "127.0.0.1:53")
	}}
	found, err := resolver.LookupHost(ctx, "www.example.com.")
	if err != nil || len(found) != 1 || found[0] != "192.0.2.1" {
		t.Errorf("the name server says %v, %v", found, err)
	}
}

func TestBIND(t *testing.T) {
	var last *Server
	gone(t, &last)
	n := labtest.Space(t)
	b := labtest.Must(StartBIND(n, 53, "xlb.test", "www IN A 192.0.2.1"))(t)
	last = b.Server
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return n.Dial(ctx, network, b.At(loopback).String())
	}}
	check := func(want string) {
		t.Helper()
		got, err := resolver.LookupHost(t.Context(), "www.xlb.test.")
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("addresses are %v (%v), want %s", got, err, want)
		}
	}
	check("192.0.2.1")
	if err := b.SetRecords("www IN A 192.0.2.2"); err != nil {
		t.Fatal(err)
	}
	check("192.0.2.2")
	if err := b.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := b.SetRecords("www IN A 192.0.2.3"); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	check("192.0.2.3")
	if err := b.LoseZone(); err != nil {
		t.Fatal(err)
	}
	if got, err := resolver.LookupHost(t.Context(), "www.xlb.test."); err == nil {
		t.Errorf("without its zone the server still answers %v", got)
	}
	if err := b.SetRecords("www IN A 192.0.2.4"); err != nil {
		t.Fatal(err)
	}
	check("192.0.2.4")
}

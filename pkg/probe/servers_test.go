package probe

import (
	"context"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/internal/testlab/labtest"
	"github.com/xlb-io/xlb/internal/testlab/servers"
	"github.com/xlb-io/xlb/pkg/model"
)

// Tests of this file run the checks against real servers, in a namespace.

// dialIn dials as a check without a DialFunc does, inside n.
func dialIn(n *testlab.Namespace) DialFunc {
	return func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = n.Do(func() error {
			conn, err = Via{}.dial(ctx, network, address)
			return err
		})
		return conn, err
	}
}

// checkIn performs one check inside n and returns role and reason.
func checkIn(t *testing.T, n *testlab.Namespace, tg Target) (role, reason string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), tg.Probe.Timeout)
	defer cancel()
	role, err := newChecker(tg.normal(), dialIn(n), nil).check(ctx)
	if err != nil {
		reason = err.Error()
	}
	return role, reason
}

// local is a target at that port of the namespace's own loopback.
func local(typ model.ProbeType, port uint16) Target {
	tg := target("db", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port).String())
	tg.Probe.Type, tg.Probe.Timeout = typ, 10*time.Second
	return tg
}

// wants compares the outcome of one check.
func wants(t *testing.T, n *testlab.Namespace, tg Target, role, reason string) {
	t.Helper()
	if gotRole, got := checkIn(t, n, tg); got != reason || gotRole != role {
		t.Errorf("%s %+v: role %q, reason %q; want %q, %q", tg.Probe.Type, tg.Probe.Login, gotRole, got, role, reason)
	}
}

// soon polls until a check has that outcome.
func soon(t *testing.T, n *testlab.Namespace, tg Target, role, reason string) {
	t.Helper()
	gotRole, got := "", ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if gotRole, got = checkIn(t, n, tg); gotRole == role && got == reason {
			return
		}
	}
	t.Errorf("%s: role %q, reason %q; not within 20 s %q, %q", tg.Probe.Type, gotRole, got, role, reason)
}

// pair is a certificate for db.example.com and 127.0.0.1, and who signed it.
func pair(t *testing.T) (ca string, p servers.Pair) {
	t.Helper()
	a := labtest.Must(servers.NewAuthority(t.TempDir()))(t)
	return a.File, labtest.Must(a.Issue("server", "db.example.com", "127.0.0.1"))(t)
}

func withTLS(tg Target, p model.TLSProbe) Target {
	p.Mode = model.TLSOn
	tg.Probe.TLS = p
	return tg
}

func withLogin(tg Target, user, password string) Target {
	tg.Probe.Login.User, tg.Probe.Login.Password = user, password
	return tg
}

const untrusted = `tls: the certificate is signed by an authority that is not trusted, "xlb test authority" (set ca, or verify: false)`

func TestPostgres(t *testing.T) {
	noSocketLeft(t)
	n := labtest.Space(t)
	ca, p := pair(t)
	primary := labtest.Must(servers.StartPostgres(n, 5432, servers.PostgresOptions{Password: "secret", TLS: p}))(t)
	replica := labtest.Must(primary.Replica(n, 5433, netip.MustParseAddr("127.0.0.1")))(t)

	first, second := local(model.ProbePostgres, 5432), local(model.ProbePostgres, 5433)
	wants(t, n, first, "", "")
	wants(t, n, withTLS(first, model.TLSProbe{CA: ca, ServerName: "db.example.com"}), "", "")
	first, second = withLogin(first, "postgres", "secret"), withLogin(second, "postgres", "secret")
	wants(t, n, first, model.RolePrimary, "")
	wants(t, n, second, model.RoleReplica, "")
	wants(t, n, withTLS(second, model.TLSProbe{CA: ca}), model.RoleReplica, "")
	wants(t, n, withTLS(second, model.TLSProbe{}), "", untrusted)
	wants(t, n, withLogin(first, "postgres", "wrong"), "", `postgres: password authentication failed for user "postgres"`)
	nowhere := first
	nowhere.Probe.Login.Database = "nowhere"
	wants(t, n, nowhere, "", `postgres: database "nowhere" does not exist`)

	if err := primary.Freeze(); err != nil {
		t.Fatal(err)
	}
	frozen := first
	frozen.Probe.Timeout = 300 * time.Millisecond
	wants(t, n, frozen, "", "timeout after 300ms while logging in")
	frozen.Probe.Login = model.Login{}
	wants(t, n, frozen, "", "timeout after 300ms while waiting for the response")
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	wants(t, n, first, "", "connect: connection refused")
	if err := replica.Promote(); err != nil {
		t.Fatal(err)
	}
	wants(t, n, second, model.RolePrimary, "")
}

func TestPostgresWithoutPasswordOrTLS(t *testing.T) {
	noSocketLeft(t)
	n := labtest.Space(t)
	labtest.Must(servers.StartPostgres(n, 5432, servers.PostgresOptions{}))(t)
	wants(t, n, withTLS(local(model.ProbePostgres, 5432), model.TLSProbe{}), "", "postgres: the server does not offer TLS")
	// The role does not exist, which says nothing against the server.
	wants(t, n, local(model.ProbePostgres, 5432), "", "")
	wants(t, n, withLogin(local(model.ProbePostgres, 5432), "nobody", ""), "", `postgres: role "nobody" does not exist`)
}

func TestRedis(t *testing.T) {
	noSocketLeft(t)
	n := labtest.Space(t)
	ca, p := pair(t)
	primary := labtest.Must(servers.StartRedis(n, 6379, servers.RedisOptions{Password: "secret", Settings: []string{
		"user joe on >joes ~* +ping", "user ann on >anns ~* +ping +info", "user free on nopass ~* +@all",
	}}))(t)
	replica := labtest.Must(servers.StartRedis(n, 6380, servers.RedisOptions{Password: "secret", ReplicaOf: primary.At(netip.MustParseAddr("127.0.0.1"))}))(t)
	labtest.Must(servers.StartRedis(n, 6381, servers.RedisOptions{TLS: p}))(t)

	first, second := withLogin(local(model.ProbeRedis, 6379), "", "secret"), withLogin(local(model.ProbeRedis, 6380), "", "secret")
	wants(t, n, first, model.RolePrimary, "")
	soon(t, n, second, model.RoleReplica, "")
	wants(t, n, withLogin(first, "default", "secret"), model.RolePrimary, "")
	wants(t, n, withLogin(first, "joe", "joes"), "", "")
	wants(t, n, withLogin(first, "ann", "anns"), model.RolePrimary, "")
	wants(t, n, withLogin(first, "free", ""), model.RolePrimary, "")
	wants(t, n, withLogin(first, "", ""), "", "redis: NOAUTH Authentication required.")
	wants(t, n, withLogin(first, "", "wrong"), "", "redis: WRONGPASS invalid username-password pair or user is disabled.")
	third := local(model.ProbeRedis, 6381)
	wants(t, n, withTLS(third, model.TLSProbe{CA: ca, ServerName: "db.example.com"}), model.RolePrimary, "")
	wants(t, n, withTLS(third, model.TLSProbe{}), "", untrusted)

	if err := primary.Stop(); err != nil {
		t.Fatal(err)
	}
	soon(t, n, second, model.RoleReplica, "redis: the replica's link to its primary is not up (connect)")
	labtest.Must(replica.Command("REPLICAOF", "NO", "ONE"))(t)
	wants(t, n, second, model.RolePrimary, "")
	if err := replica.Freeze(); err != nil {
		t.Fatal(err)
	}
	second.Probe.Timeout = 200 * time.Millisecond
	wants(t, n, second, "", "timeout after 200ms while logging in")
}

// The password is read anew each time.
func TestPasswordFile(t *testing.T) {
	noSocketLeft(t)
	n := labtest.Space(t)
	labtest.Must(servers.StartRedis(n, 6379, servers.RedisOptions{Password: "secret"}))(t)
	tg := local(model.ProbeRedis, 6379)
	tg.Probe.Login.PasswordFile = t.TempDir() + "/password"
	wants(t, n, tg, "", "not probed: open "+tg.Probe.Login.PasswordFile+": no such file or directory")
	for _, c := range []struct{ text, role, reason string }{
		{"secret", model.RolePrimary, ""}, {"wrong\n", "", "redis: WRONGPASS invalid username-password pair or user is disabled."}, {"secret\r\nmore\n", model.RolePrimary, ""},
	} {
		if err := os.WriteFile(tg.Probe.Login.PasswordFile, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		wants(t, n, tg, c.role, c.reason)
	}
}

func TestMySQL(t *testing.T) {
	noSocketLeft(t)
	n := labtest.Space(t)
	ca, p := pair(t)
	s := labtest.Must(servers.StartMariaDB(n, 3306, servers.MariaDBOptions{Users: map[string]string{"joe": "secret"}, TLS: p}))(t)
	tg := local(model.ProbeMySQL, 3306)
	wants(t, n, tg, "", "")
	joe := withLogin(tg, "joe", "secret")
	wants(t, n, joe, model.RolePrimary, "")
	wants(t, n, withTLS(joe, model.TLSProbe{CA: ca, ServerName: "db.example.com"}), model.RolePrimary, "")
	wants(t, n, withTLS(joe, model.TLSProbe{}), "", untrusted)
	wants(t, n, withLogin(tg, "joe", "wrong"), "", "mysql: Access denied for user 'joe'@'127.0.0.1' (using password: YES)")
	joe.Probe.Login.Database = "nowhere"
	wants(t, n, joe, "", "mysql: Unknown database 'nowhere'")
	joe.Probe.Login.Database = "mysql"
	wants(t, n, joe, model.RolePrimary, "")
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	joe.Probe.Timeout = 200 * time.Millisecond
	wants(t, n, joe, "", "timeout after 200ms while waiting for the greeting")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	wants(t, n, joe, "", "connect: connection refused")
}

func TestMySQLReadOnlyWithoutTLS(t *testing.T) {
	noSocketLeft(t)
	n := labtest.Space(t)
	labtest.Must(servers.StartMariaDB(n, 3306, servers.MariaDBOptions{Users: map[string]string{"joe": "secret"}, Settings: []string{"read_only = 1"}}))(t)
	joe := withLogin(local(model.ProbeMySQL, 3306), "joe", "secret")
	wants(t, n, joe, model.RoleReplica, "")
	wants(t, n, withTLS(joe, model.TLSProbe{}), "", "mysql: the server does not offer TLS")
}

func TestMQTT(t *testing.T) {
	noSocketLeft(t)
	n := labtest.Space(t)
	ca, p := pair(t)
	s := labtest.Must(servers.StartMosquitto(n, 1883, servers.MosquittoOptions{Users: map[string]string{"joe": "secret"}}))(t)
	labtest.Must(servers.StartMosquitto(n, 8883, servers.MosquittoOptions{TLS: p}))(t)
	for version, refusal := range map[model.MQTTVersion]string{
		model.MQTT311: "mqtt: the broker refused: not authorized", model.MQTT5: "mqtt: the broker refused: code 135 not authorized",
	} {
		tg := local(model.ProbeMQTT, 1883)
		tg.Probe.MQTTVersion = version
		wants(t, n, withLogin(tg, "joe", "secret"), "", "")
		wants(t, n, withLogin(tg, "joe", "wrong"), "", refusal)
		wants(t, n, tg, "", refusal)
		secure := local(model.ProbeMQTT, 8883)
		secure.Probe.MQTTVersion = version
		wants(t, n, withTLS(secure, model.TLSProbe{CA: ca}), "", "")
		wants(t, n, withTLS(secure, model.TLSProbe{}), "", untrusted)
	}
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	tg := local(model.ProbeMQTT, 1883)
	tg.Probe.Timeout = 200 * time.Millisecond
	wants(t, n, tg, "", "timeout after 200ms while waiting for the response")
}

func TestSMTP(t *testing.T) {
	noSocketLeft(t)
	n := labtest.Space(t)
	ca, p := pair(t)
	labtest.Must(servers.StartExim(n, 25, p))(t)
	labtest.Must(servers.StartExim(n, 26, servers.Pair{}))(t)
	tg := local(model.ProbeSMTP, 25)
	wants(t, n, tg, "", "")
	tg.Probe.TLS = model.TLSProbe{Mode: model.TLSStart, CA: ca, ServerName: "db.example.com"}
	wants(t, n, tg, "", "")
	tg.Probe.TLS.CA = ""
	wants(t, n, tg, "", untrusted)
	tg.Probe.Port = 26
	wants(t, n, tg, "", "smtp: the server does not offer STARTTLS")
	wants(t, n, local(model.ProbeSMTP, 26), "", "")
}

func TestHTTP2(t *testing.T) {
	noSocketLeft(t)
	n := labtest.Space(t)
	ca, p := pair(t)
	keys := "ssl_certificate " + p.Certificate + "; ssl_certificate_key " + p.Key + ";"
	labtest.Must(servers.StartNginx(n, 443, `
server { `+servers.Listen(443, "ssl http2")+keys+` location / { return 200 "$server_protocol $scheme $host $request_uri $http_user_agent"; } location /down { return 503; } }
server { `+servers.Listen(444, "ssl")+keys+` }
server { `+servers.Listen(80, "http2")+` location / { return 200 "$server_protocol $scheme $host $request_uri"; } }
server { `+servers.Listen(81, "")+` }`))(t)
	with := func(port uint16, body string) Target {
		tg := local(model.ProbeHTTP2, port)
		tg.Probe.HTTP = model.HTTPProbe{Method: "GET", Path: "/up?x=1", Host: "db.example.com", Body: body}
		return tg
	}
	tg := withTLS(with(443, "HTTP/2.0 https db.example.com /up?x=1 xlb-probe"), model.TLSProbe{CA: ca})
	wants(t, n, tg, "", "")
	tg.Probe.HTTP.Path = "/down"
	wants(t, n, tg, "", "status 503, expected 200-399")
	wants(t, n, withTLS(with(443, ""), model.TLSProbe{}), "", untrusted)
	wants(t, n, withTLS(with(444, ""), model.TLSProbe{CA: ca}), "", "tls: the backend refused: no application protocol")
	wants(t, n, with(80, "HTTP/2.0 http db.example.com /up?x=1"), "", "")
	wants(t, n, with(80, "nothing"), "", `body does not contain "nothing" (first 64 KiB)`)
	if _, reason := checkIn(t, n, with(81, "")); reason == "" {
		t.Error("a server without HTTP/2 passed")
	}
	plain := local(model.ProbeHTTPS, 443)
	plain.Probe.HTTP.Method, plain.Probe.HTTP.Host = "GET", "db.example.com"
	wants(t, n, withTLS(plain, model.TLSProbe{CA: ca}), "", "")
}

func TestDNS(t *testing.T) {
	noSocketLeft(t)
	n := labtest.Space(t)
	labtest.Must(servers.StartDNSMasq(n, 53, "--host-record=www.example.com,192.0.2.1,2001:db8::1", "--mx-host=example.com,mail.example.com,10", "--txt-record=example.com,some text"))(t)
	for _, c := range []struct {
		probe  model.DNSProbe
		reason string
	}{
		{model.DNSProbe{Name: "www.example.com.", Type: "A"}, ""},
		{model.DNSProbe{Name: "www.example.com.", Type: "A", Answer: "192.0.2.1"}, ""},
		{model.DNSProbe{Name: "www.example.com.", Type: "A", Answer: "192.0.2.1", TCP: true}, ""},
		{model.DNSProbe{Name: "www.example.com.", Type: "AAAA", Answer: "2001:db8::1"}, ""},
		{model.DNSProbe{Name: "example.com.", Type: "MX", Answer: "10 mail.example.com"}, ""},
		{model.DNSProbe{Name: "example.com.", Type: "TXT", Answer: "some text"}, ""},
		{model.DNSProbe{Name: "www.example.com.", Type: "A", Answer: "192.0.2.2"}, `no A record of the answer is "192.0.2.2"`},
		{model.DNSProbe{Name: "nowhere.example.", Type: "A", RCode: "REFUSED"}, ""},
		{model.DNSProbe{Name: "nowhere.example.", Type: "A", RCode: "NXDOMAIN"}, "response code REFUSED, expected NXDOMAIN"},
	} {
		tg := local(model.ProbeDNS, 53)
		if tg.Probe.DNS = c.probe; c.probe.RCode == "" {
			tg.Probe.DNS.RCode = "NOERROR"
		}
		wants(t, n, tg, "", c.reason)
	}
	tg := local(model.ProbeDNS, 54)
	tg.Probe.DNS = model.DNSProbe{Name: "www.example.com.", Type: "A", RCode: "NOERROR"}
	wants(t, n, tg, "", "the port is unreachable, says ICMP")
	tg.Probe.DNS.TCP = true
	wants(t, n, tg, "", "connect: connection refused")
}

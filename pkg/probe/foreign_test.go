package probe

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/xlb-io/xlb/pkg/model"
)

// spoken is a probe of every type that hears an answer over a stream.
func spoken() []model.Probe {
	login := model.Login{User: "joe", Password: "secret"}
	return []model.Probe{
		{Type: model.ProbeHTTP, HTTP: model.HTTPProbe{Method: "GET", Path: "/"}},
		{Type: model.ProbeHTTP2, HTTP: model.HTTPProbe{Method: "GET", Path: "/"}},
		{Type: model.ProbeTLS, TLS: model.TLSProbe{Mode: model.TLSOn}},
		{Type: model.ProbeGRPC},
		{Type: model.ProbeDNS, DNS: model.DNSProbe{Name: "example.com.", Type: "A", RCode: "NOERROR", TCP: true, Answer: "192.0.2.1"}},
		{Type: model.ProbeMQTT, MQTTVersion: model.MQTT311},
		{Type: model.ProbeMQTT, MQTTVersion: model.MQTT5, Login: login},
		{Type: model.ProbeRedis},
		{Type: model.ProbeRedis, Login: login},
		{Type: model.ProbePostgres},
		{Type: model.ProbePostgres, Login: login},
		{Type: model.ProbePostgres, TLS: model.TLSProbe{Mode: model.TLSOn}},
		{Type: model.ProbeMySQL},
		{Type: model.ProbeMySQL, Login: login, TLS: model.TLSProbe{Mode: model.TLSOn}},
		{Type: model.ProbeSMTP, TLS: model.TLSProbe{Mode: model.TLSStart}},
		{Type: model.ProbeSendExpect, Talk: model.TalkProbe{Expect: "something else"}},
	}
}

// canned is a connection that says its text, and takes everything.
type canned struct {
	io.Reader
	net.Conn
}

func (c canned) Read(p []byte) (int, error)       { return c.Reader.Read(p) }
func (c canned) Write(p []byte) (int, error)      { return len(p), nil }
func (c canned) Close() error                     { return nil }
func (c canned) SetDeadline(time.Time) error      { return nil }
func (c canned) SetReadDeadline(time.Time) error  { return nil }
func (c canned) SetWriteDeadline(time.Time) error { return nil }
func (c canned) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (c canned) RemoteAddr() net.Addr             { return c.LocalAddr() }

// hear performs a check of p that hears text and then the end of the stream.
func hear(t testing.TB, p model.Probe, text []byte) (role, reason string) {
	t.Helper()
	tg := target("web", "127.0.0.1:1")
	p.Interval, p.Timeout = time.Second, 5*time.Second
	tg.Probe = p
	ctx, cancel := context.WithTimeout(t.Context(), p.Timeout)
	defer cancel()
	dial := func(context.Context, string, string) (net.Conn, error) {
		return canned{Reader: bytes.NewReader(text)}, nil
	}
	role, err := newChecker(tg.normal(), dial, nil).check(ctx)
	if err != nil {
		reason = err.Error()
	}
	return role, reason
}

// Whatever a backend says, a check ends with a reason that an operator can read.
func checkHears(t *testing.T, text []byte) {
	t.Helper()
	for _, p := range spoken() {
		role, reason := hear(t, p, text)
		if len(reason) > maxReason+80 || !utf8.ValidString(reason) || strings.ContainsAny(reason, "\n\r\x00\x1b") {
			t.Errorf("%s: reason %q", p.Type, reason)
		}
		if role != "" && !utf8.ValidString(role) {
			t.Errorf("%s: role %q", p.Type, role)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	for _, text := range foreign {
		f.Add([]byte(text))
	}
	f.Fuzz(checkHears)
}

// foreign is what servers of other protocols say, and some who mean ill.
var foreign = map[string]string{
	"nothing":        "",
	"ssh":            "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
	"http":           "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
	"smtp":           "220 mail.example.com ESMTP\r\n250-mail\r\n250 STARTTLS\r\n220 go ahead\r\n",
	"smtp busy":      "421 too many connections\r\n",
	"redis":          "+PONG\r\n*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n",
	"redis huge":     "$999999999999\r\n",
	"redis lists":    "*99999999999\r\n",
	"redis deep":     strings.Repeat("*1\r\n", 10000),
	"redis loading":  "-LOADING Redis is loading the dataset in memory\r\n",
	"mysql":          "\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00",
	"mysql busy":     "\x17\x00\x00\x00\xff\x10\x04Too many connections",
	"mysql old":      "\x05\x00\x00\x00\x01aaaa",
	"mysql short":    "\x0b\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00",
	"mysql huge":     "\xff\xff\xff\x00\x0a",
	"postgres":       "R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I",
	"postgres start": "E\x00\x00\x00\x37SFATAL\x00C57P03\x00Mthe database system is starting up\x00\x00",
	"postgres huge":  "R\x7f\xff\xff\xff",
	"mqtt":           "\x20\x02\x00\x00",
	"mqtt 5":         "\x20\x03\x00\x00\x00",
	"mqtt huge":      "\x20\xff\xff\xff\x7f",
	"mqtt publish":   "\x30\xff\xff\xff\x7f",
	"tls alert":      "\x15\x03\x03\x00\x02\x02\x28",
	"h2 goaway":      "\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0b",
	"dns":            "\x00\x0c\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00",
	"escapes":        "\x1b[2J\x1b[31m\r\n\x00\xff",
	"zeros":          strings.Repeat("\x00", 100),
}

func TestForeignAnswers(t *testing.T) {
	for name, text := range foreign {
		t.Run(name, func(t *testing.T) { checkHears(t, []byte(text)) })
	}
	type hearing struct {
		typ          model.ProbeType
		text         string
		role, reason string
	}
	for _, c := range []hearing{
		{model.ProbeRedis, "redis", model.RolePrimary, ""},
		{model.ProbeRedis, "redis loading", "", "redis: LOADING Redis is loading the dataset in memory"},
		{model.ProbeRedis, "redis huge", "", "redis: the answer is not Redis's protocol"},
		{model.ProbeRedis, "ssh", "", "redis: the answer is not Redis's protocol"},
		{model.ProbeRedis, "nothing", "", "connection closed by the backend while waiting for the response"},
		{model.ProbePostgres, "postgres", "", ""},
		{model.ProbePostgres, "postgres start", "", "postgres: the database system is starting up"},
		{model.ProbePostgres, "postgres huge", "", "postgres: the answer is not PostgreSQL's protocol"},
		{model.ProbePostgres, "ssh", "", "postgres: the answer is not PostgreSQL's protocol"},
		{model.ProbeMySQL, "mysql busy", "", "mysql: Too many connections"},
		{model.ProbeMySQL, "mysql short", "", "mysql: the answer is not MySQL's protocol"},
		{model.ProbeMySQL, "ssh", "", "mysql: the answer is not MySQL's protocol"},
		{model.ProbeMySQL, "mysql old", "", "mysql: the answer is not MySQL's protocol"},
		{model.ProbeHTTP2, "http", "", "the answer is not HTTP/2"},
		{model.ProbeHTTP2, "ssh", "", "the answer is not HTTP/2"},
		{model.ProbeGRPC, "http", "", "the answer is not HTTP/2"},
		{model.ProbeMQTT, "mqtt", "", ""},
		{model.ProbeMQTT, "ssh", "", "mqtt: the answer is no CONNACK"},
		{model.ProbeMQTT, "mqtt huge", "", "mqtt: the answer is no CONNACK"},
		{model.ProbeMQTT, "mqtt publish", "", "mqtt: the answer is no CONNACK"},
		{model.ProbeSMTP, "smtp busy", "", "smtp: 421 too many connections"},
		{model.ProbeSMTP, "http", "", "smtp: the answer is not SMTP"},
		{model.ProbeTLS, "ssh", "", "tls: the answer is not TLS (does this port speak without TLS?)"},
	} {
		for _, p := range spoken() {
			if p.Type != c.typ {
				continue
			}
			if role, reason := hear(t, p, []byte(foreign[c.text])); role != c.role || reason != c.reason {
				t.Errorf("%s hears %s: role %q, reason %q; want %q, %q", c.typ, c.text, role, reason, c.role, c.reason)
			}
			break
		}
	}
}

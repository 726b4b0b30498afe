package probe

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// httpTarget returns a target of a GET request with an ample timeout.
func httpTarget(addr net.Addr, typ model.ProbeType) Target {
	tg := tcpTarget(addr)
	tg.Probe.Type = typ
	tg.Probe.HTTP = model.HTTPProbe{Method: "GET", Path: "/"}
	if typ == model.ProbeHTTPS {
		tg.Probe.TLS = model.TLSProbe{Mode: model.TLSOn, SkipVerify: true}
	}
	return tg
}

// serveRaw answers each connection with answer after it has read a request,
// and closes it.
func serveRaw(t *testing.T, answer func(conn net.Conn)) net.Addr {
	t.Helper()
	return serve(t, func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			answer(conn)
		}
	})
}

func say(text string) func(net.Conn) {
	return func(conn net.Conn) { io.WriteString(conn, text) }
}

// hang keeps the connection until the client closes it.
func hang(text string) func(net.Conn) {
	return func(conn net.Conn) {
		io.WriteString(conn, text)
		io.Copy(io.Discard, conn)
	}
}

func TestHTTPAnswers(t *testing.T) {
	noSocketLeft(t)
	const ok = "HTTP/1.1 200 OK\r\n"
	only := func(codes ...int) (set []model.StatusRange) {
		for i := 0; i < len(codes); i += 2 {
			set = append(set, model.StatusRange{First: codes[i], Last: codes[i+1]})
		}
		return set
	}
	for _, c := range []struct {
		name   string
		answer func(net.Conn)
		status []model.StatusRange
		body   string
		want   string
	}{
		{name: "ok", answer: say(ok + "Content-Length: 2\r\n\r\nok")},
		{name: "no content", answer: say("HTTP/1.1 204 No Content\r\n\r\n")},
		{name: "http 1.0", answer: say("HTTP/1.0 200 OK\r\n\r\nready"), body: "ready"},
		{name: "redirect passes by default", answer: say("HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n")},
		{name: "unavailable", answer: say("HTTP/1.1 503 Service Unavailable\r\n\r\n"), want: "status 503, expected 200-399"},
		{name: "status set", answer: say("HTTP/1.1 204 No Content\r\n\r\n"), status: only(200, 200, 404, 410), want: "status 204, expected 200, 404-410"},
		{name: "status in set", answer: say("HTTP/1.1 404 Not Found\r\n\r\n"), status: only(200, 200, 404, 410)},
		{name: "early hints", answer: say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")},
		{name: "interim for ever", answer: say(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 50)), want: "more than 5 interim (1xx) responses"},
		{name: "switching protocols", answer: say("HTTP/1.1 101 Switching Protocols\r\n\r\n"), want: "status 101, expected 200-399"},
		{name: "body", answer: say(ok + "\r\nall is ok here"), body: "ok"},
		{name: "chunked body split", answer: say(ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n"), body: "ready"},
		{name: "body lacks", answer: say(ok + "\r\nno"), body: "ok", want: `body does not contain "ok" (first 64 KiB)`},
		{name: "body at the end of 64 KiB", answer: say(ok + "\r\n" + strings.Repeat("x", 64<<10-5) + "ready"), body: "ready"},
		{name: "body past 64 KiB", answer: say(ok + "\r\n" + strings.Repeat("x", 64<<10-4) + "ready"), body: "ready", want: `body does not contain "ready" (first 64 KiB)`},
		{name: "body without end", answer: hang(ok + "\r\nready, and more to come"), body: "ready"},
		{name: "body not waited for", answer: hang(ok + "Content-Length: 100\r\n\r\n")},
		{name: "closed in the body", answer: say(ok + "Content-Length: 100\r\n\r\nhello"), body: "ready", want: "connection closed by the backend while reading the body"},
		{name: "closed in the body after the match", answer: say(ok + "Content-Length: 100\r\n\r\nready"), body: "ready"},
		{name: "closed without an answer", answer: say(""), want: "connection closed by the backend while waiting for the response"},
		{name: "closed in the header", answer: say(ok + "Server: x\r\n"), want: "connection closed by the backend while waiting for the response"},
		{name: "reset", answer: func(c net.Conn) { abortive(c); c.Close() }, want: "connection reset by the backend while waiting for the response"},
		{name: "not http", answer: say("SSH-2.0-OpenSSH_9.2\r\n\x1b[31m"), want: `waiting for the response: malformed HTTP response "SSH-2.0-OpenSSH_9.2"`},
		{name: "long garbage", answer: say(strings.Repeat("é", 5000) + "\r\n"), want: `waiting for the response: malformed HTTP response "` + strings.Repeat("é", 74) + "…"},
		{name: "huge header", answer: say(ok + "X-Fill: " + strings.Repeat("x", 100<<10) + "\r\n\r\n"), want: "response header is larger than 64 KiB"},
		{name: "large header", answer: say(ok + "X-Fill: " + strings.Repeat("x", 60<<10) + "\r\n\r\nready"), body: "ready"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tg := httpTarget(serveRaw(t, c.answer), model.ProbeHTTP)
			tg.Probe.HTTP.Status = c.status
			tg.Probe.HTTP.Body = c.body
			if got := run(t, tg); got != c.want {
				t.Errorf("reason is %q, want %q", got, c.want)
			}
		})
	}
}

func TestHTTPTimeouts(t *testing.T) {
	noSocketLeft(t)
	for _, c := range []struct {
		name   string
		typ    model.ProbeType
		answer func(net.Conn)
		want   string
	}{
		{"no answer", model.ProbeHTTP, hang(""), "timeout after 100ms while waiting for the response"},
		{"half a header", model.ProbeHTTP, hang("HTTP/1.1 200 OK\r\nX: "), "timeout after 100ms while waiting for the response"},
		{"half a body", model.ProbeHTTP, hang("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nx"), "timeout after 100ms while reading the body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tg := httpTarget(serveRaw(t, c.answer), c.typ)
			tg.Probe.Timeout = 100 * time.Millisecond
			tg.Probe.HTTP.Body = "ready"
			if got := run(t, tg); got != c.want {
				t.Errorf("reason is %q, want %q", got, c.want)
			}
		})
	}
	t.Run("never accepts", func(t *testing.T) {
		tg := httpTarget(listen(t, "127.0.0.1:0").Addr(), model.ProbeHTTPS)
		tg.Probe.Timeout = 100 * time.Millisecond
		if got, want := run(t, tg), "timeout after 100ms while negotiating TLS"; got != want {
			t.Errorf("reason is %q, want %q", got, want)
		}
	})
}

func TestHTTPRequest(t *testing.T) {
	noSocketLeft(t)
	type seen struct{ method, uri, host, proto, agent, connection string }
	requests := make(chan seen, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- seen{r.Method, r.RequestURI, r.Host, r.Proto, r.UserAgent(), r.Header.Get("Connection")}
	}))
	defer srv.Close()
	addr := srv.Listener.Addr()
	for _, c := range []struct {
		name  string
		probe model.HTTPProbe
		want  seen
	}{
		{"plain", model.HTTPProbe{Method: "GET", Path: "/"}, seen{"GET", "/", addr.String(), "HTTP/1.1", "xlb-probe", "close"}},
		{"empty is GET /", model.HTTPProbe{}, seen{"GET", "/", addr.String(), "HTTP/1.1", "xlb-probe", "close"}},
		{"query", model.HTTPProbe{Method: "HEAD", Path: "/health?full=1&x=%20y"}, seen{"HEAD", "/health?full=1&x=%20y", addr.String(), "HTTP/1.1", "xlb-probe", "close"}},
		{"host", model.HTTPProbe{Method: "OPTIONS", Path: "/a/b", Host: "www.example.com"}, seen{"OPTIONS", "/a/b", "www.example.com", "HTTP/1.1", "xlb-probe", "close"}},
		{"two slashes are no host", model.HTTPProbe{Method: "POST", Path: "//x/y"}, seen{"POST", "//x/y", addr.String(), "HTTP/1.1", "xlb-probe", "close"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tg := httpTarget(addr, model.ProbeHTTP)
			tg.Probe.HTTP = c.probe
			if reason := run(t, tg); reason != "" {
				t.Fatal(reason)
			}
			if got := <-requests; got != c.want {
				t.Errorf("request is %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestHTTPDoesNotFollowRedirects(t *testing.T) {
	noSocketLeft(t)
	var hits atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}))
	defer srv.Close()
	tg := httpTarget(srv.Listener.Addr(), model.ProbeHTTP)
	tg.Probe.HTTP.Status = []model.StatusRange{{First: 200, Last: 200}}
	if got, want := run(t, tg), "status 302, expected 200"; got != want {
		t.Errorf("reason is %q, want %q", got, want)
	}
	if hits.Load() != 1 {
		t.Errorf("%d requests, want 1", hits.Load())
	}
}

func TestHTTPRefusesBadRequests(t *testing.T) {
	for _, c := range []struct {
		probe model.HTTPProbe
		want  string
	}{
		{model.HTTPProbe{Method: "GET", Path: "health"}, `path "health" must begin with a slash`},
		{model.HTTPProbe{Method: "GE T", Path: "/"}, `request: net/http: invalid method "GE T"`},
		{model.HTTPProbe{Method: "GET", Path: "/%zz"}, `request: parse "http://backend/%zz": invalid URL escape "%zz"`},
		{model.HTTPProbe{Method: "GET", Path: "/", Host: "a b"}, `host "a b" must be a name or an address, with or without a port`},
		{model.HTTPProbe{Method: "GET", Path: "/", Host: "a/b"}, `host "a/b" must be a name or an address, with or without a port`},
		{model.HTTPProbe{Method: "GET", Path: "/", Host: "bücher.example"}, `host "bücher.example" must be a name or an address, with or without a port (an international name in its xn-- form)`},
	} {
		tg := target("web", "127.0.0.1:1")
		tg.Probe.Type, tg.Probe.HTTP = model.ProbeHTTP, c.probe
		if got := run(t, tg); got != c.want {
			t.Errorf("%+v: reason is %q, want %q", c.probe, got, c.want)
		}
	}
}

// TestHTTPSearchAcrossReads: the text may arrive in any pieces.
func TestHTTPSearchAcrossReads(t *testing.T) {
	h := &httpCheck{probe: model.HTTPProbe{Body: "ready"}}
	for body, found := range map[string]bool{"ready": true, "rereadyy": true, "read": false, "": false, "rea dy": false} {
		if err := h.search(t.Context(), iotest.OneByteReader(strings.NewReader(body))); (err == nil) != found {
			t.Errorf("body %q byte by byte: %v, want found = %v", body, err, found)
		}
	}
}

func TestHostOf(t *testing.T) {
	for _, c := range []struct {
		addr string
		port uint16
		want string
	}{
		{"10.0.0.1:80", 80, "10.0.0.1"},
		{"10.0.0.1:80", 443, "10.0.0.1:80"},
		{"[2001:db8::1]:443", 443, "[2001:db8::1]"},
		{"[2001:db8::1]:8443", 443, "[2001:db8::1]:8443"},
		{"[fe80::1%eth0]:80", 80, "[fe80::1]"},
		{"[fe80::1%eth0]:81", 80, "[fe80::1]:81"},
	} {
		if got := hostOf(netip.MustParseAddrPort(c.addr), c.port); got != c.want {
			t.Errorf("hostOf(%s, %d) = %q, want %q", c.addr, c.port, got, c.want)
		}
	}
}

func TestShorten(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                        "plain",
		"a\nb\x1b[0m\x7f\xff":          "a?b?[0m??",
		strings.Repeat("x", 200):       strings.Repeat("x", 200),
		strings.Repeat("x", 201):       strings.Repeat("x", 200) + "…",
		"x" + strings.Repeat("é", 100): fmt.Sprintf("x%s…", strings.Repeat("é", 99)),
	} {
		if got := shorten(in); got != want {
			t.Errorf("shorten(%q) = %q, want %q", in, got, want)
		}
	}
}

package probe

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"testing"

	"github.com/xlb-io/xlb/pkg/model"
)

// tlsServer answers 200 and tells the name that clients ask for.
func tlsServer(t *testing.T, refuse error) (srv *httptest.Server, names chan string) {
	t.Helper()
	names = make(chan string, 1)
	srv = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Proto+" "+r.Host)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.EnableHTTP2 = true // a probe speaks HTTP/1.1 nevertheless
	srv.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if !slices.Equal(hello.SupportedProtos, []string{"http/1.1"}) {
			t.Errorf("the check offers %q by ALPN, want http/1.1 alone", hello.SupportedProtos)
		}
		names <- hello.ServerName
		return nil, refuse
	}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv, names
}

func TestHTTPSNames(t *testing.T) {
	noSocketLeft(t)
	srv, names := tlsServer(t, nil)
	for _, c := range []struct{ host, sni, wantHost string }{
		{"www.example.com", "www.example.com", "www.example.com"},
		{"www.example.com:8443", "www.example.com", "www.example.com:8443"},
		{"", "", srv.Listener.Addr().String()}, // an address is no SNI (RFC 6066, §3)
		{"[2001:db8::1]", "", "[2001:db8::1]"},
	} {
		tg := httpTarget(srv.Listener.Addr(), model.ProbeHTTPS)
		tg.Probe.HTTP.Host = c.host
		tg.Probe.HTTP.Body = "HTTP/1.1 " + c.wantHost
		if reason := run(t, tg); reason != "" {
			t.Errorf("host %q: %s", c.host, reason)
		}
		if got := <-names; got != c.sni {
			t.Errorf("host %q: SNI is %q, want %q", c.host, got, c.sni)
		}
	}
}

func TestHTTPSVerify(t *testing.T) {
	noSocketLeft(t)
	srv, names := tlsServer(t, nil)
	dir := t.TempDir()
	ours, others := filepath.Join(dir, "ours.pem"), filepath.Join(dir, "others.pem")
	writeCertificate(t, ours, srv.Certificate()) // for example.com and 127.0.0.1
	writeCertificate(t, others, expired(t))
	for _, c := range []struct {
		host, name, ca string
		want           string
	}{
		{"example.com", "", ours, ""},
		{"", "", ours, ""},
		{"xlb.invalid", "example.com", ours, ""},
		{"xlb.invalid", "", ours, "tls: certificate is valid for example.com, *.example.com, not xlb.invalid (set server_name, or verify: false)"},
		{"example.com", "", others, `tls: the certificate is signed by an authority that is not trusted (set ca, or verify: false)`},
	} {
		tg := httpTarget(srv.Listener.Addr(), model.ProbeHTTPS)
		tg.Probe.HTTP.Host, tg.Probe.TLS = c.host, model.TLSProbe{Mode: model.TLSOn, ServerName: c.name, CA: c.ca}
		if got := run(t, tg); got != c.want {
			t.Errorf("host %q, name %q: reason is %q, want %q", c.host, c.name, got, c.want)
		}
		<-names
	}
}

func TestHTTPSFailures(t *testing.T) {
	noSocketLeft(t)
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	refusing, _ := tlsServer(t, errors.New("not today"))
	working, _ := tlsServer(t, nil)
	closing := listen(t, "127.0.0.1:0")
	go func() {
		conn, err := closing.Accept()
		if err != nil {
			return
		}
		conn.Read(make([]byte, 4096))
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
		conn.Close()
	}()
	for _, c := range []struct {
		name string
		addr net.Addr
		typ  model.ProbeType
		want string
	}{
		{"https to http", plain.Listener.Addr(), model.ProbeHTTPS, "tls: the answer is not TLS (does this port speak without TLS?)"},
		{"http to https", working.Listener.Addr(), model.ProbeHTTP, "status 400, expected 200-399"},
		{"alert", refusing.Listener.Addr(), model.ProbeHTTPS, "tls: the backend refused: internal error"},
		{"closed", closing.Addr(), model.ProbeHTTPS, "tls: connection closed by the backend"},
	} {
		if got := run(t, httpTarget(c.addr, c.typ)); got != c.want {
			t.Errorf("%s: reason is %q, want %q", c.name, got, c.want)
		}
	}
}

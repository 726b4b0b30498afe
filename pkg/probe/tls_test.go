package probe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab/servers"
	"github.com/xlb-io/xlb/pkg/model"
)

func writeCertificate(t *testing.T, path string, c *x509.Certificate) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// expired is a certificate of the year 2020, signed by itself.
func expired(t *testing.T) *x509.Certificate {
	t.Helper()
	return parseCertificate(t, selfSigned(t).Certificate[0])
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	year := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: year, NotAfter: year.AddDate(1, 0, 0), DNSNames: []string{"example.com"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func parseCertificate(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serveTLS does TLS handshakes and then lets conn have the connection.
func serveTLS(t *testing.T, config *tls.Config, conn func(*tls.Conn)) net.Addr {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(10 * time.Second))
			secure := tls.Server(c, config)
			if err := secure.Handshake(); err == nil && conn != nil {
				conn(secure)
			}
			c.Close()
		}
	}()
	return l.Addr()
}

// authority makes certificates: of the server for db.example.com and 127.0.0.1.
func authority(t *testing.T) (*servers.Authority, tls.Certificate) {
	t.Helper()
	a, err := servers.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := a.Issue("server", "db.example.com", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	own, err := tls.LoadX509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	return a, own
}

func tlsTarget(addr net.Addr, p model.TLSProbe) Target {
	tg := tcpTarget(addr)
	p.Mode = model.TLSOn
	tg.Probe.Type, tg.Probe.TLS = model.ProbeTLS, p
	return tg
}

func TestTLS(t *testing.T) {
	noSocketLeft(t)
	a, own := authority(t)
	names := make(chan string, 1)
	addr := serveTLS(t, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		names <- hello.ServerName
		return &tls.Config{Certificates: []tls.Certificate{own}}, nil
	}}, nil)
	for _, c := range []struct {
		probe     model.TLSProbe
		sni, want string
	}{
		{model.TLSProbe{CA: a.File}, "", ""},
		{model.TLSProbe{CA: a.File, ServerName: "db.example.com"}, "db.example.com", ""},
		{model.TLSProbe{CA: a.File, ServerName: "web.example.com"}, "web.example.com", "tls: certificate is valid for db.example.com, not web.example.com (set server_name, or verify: false)"},
		{model.TLSProbe{ServerName: "db.example.com"}, "db.example.com", `tls: the certificate is signed by an authority that is not trusted, "xlb test authority" (set ca, or verify: false)`},
		{model.TLSProbe{ServerName: "web.example.com", SkipVerify: true}, "web.example.com", ""},
	} {
		if got := run(t, tlsTarget(addr, c.probe)); got != c.want {
			t.Errorf("%+v: reason is %q, want %q", c.probe, got, c.want)
		}
		if got := <-names; got != c.sni {
			t.Errorf("%+v: SNI is %q, want %q", c.probe, got, c.sni)
		}
	}
}

// The reason of an expired certificate must not hold the time of the attempt.
func TestTLSExpired(t *testing.T) {
	noSocketLeft(t)
	own := selfSigned(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeCertificate(t, ca, parseCertificate(t, own.Certificate[0]))
	tg := tlsTarget(serveTLS(t, &tls.Config{Certificates: []tls.Certificate{own}}, nil), model.TLSProbe{CA: ca, ServerName: "example.com"})
	if got, want := run(t, tg), "tls: the certificate is valid from 2020-01-01T00:00:00Z to 2021-01-01T00:00:00Z only"; got != want {
		t.Errorf("reason is %q, want %q", got, want)
	}
}

func TestTLSClientCertificate(t *testing.T) {
	noSocketLeft(t)
	a, own := authority(t)
	pool := x509.NewCertPool()
	text, err := os.ReadFile(a.File)
	if err != nil {
		t.Fatal(err)
	}
	pool.AppendCertsFromPEM(text)
	addr := serveTLS(t, &tls.Config{
		Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MaxVersion: tls.VersionTLS12,
	}, nil)
	client, err := a.Issue("client")
	if err != nil {
		t.Fatal(err)
	}
	tg := tlsTarget(addr, model.TLSProbe{CA: a.File, Certificate: client.Certificate, Key: client.Key})
	if reason := run(t, tg); reason != "" {
		t.Error(reason)
	}
	tg.Probe.TLS.Certificate, tg.Probe.TLS.Key = "", ""
	if got := run(t, tg); !strings.HasPrefix(got, "tls: the backend refused:") {
		t.Errorf("without a certificate: %q", got)
	}
}

// Files that cannot be read are this host's fault, and are read again once they
// are there or have changed.
func TestTLSFiles(t *testing.T) {
	noSocketLeft(t)
	a, own := authority(t)
	addr := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{own}}, nil)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	tg := tlsTarget(addr, model.TLSProbe{CA: ca})
	fails := func(want string) {
		t.Helper()
		_, err := newChecker(tg.normal(), new(net.Dialer).DialContext, nil).check(t.Context())
		if !errors.Is(err, errLocal) || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	fails("not probed: stat " + ca + ": no such file or directory")
	if err := os.WriteFile(ca, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails("not probed: " + ca + " holds no certificate in PEM")
	text, err := os.ReadFile(a.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if reason := run(t, tg); reason != "" {
			t.Error(reason)
		}
	}
	tg.Probe.TLS.Certificate, tg.Probe.TLS.Key = ca, ca
	if got := run(t, tg); !strings.HasPrefix(got, "not probed: certificate "+ca) {
		t.Errorf("a key that is none: %q", got)
	}
}

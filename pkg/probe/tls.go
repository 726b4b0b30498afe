package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// security is how a check speaks TLS.
type security struct {
	probe     model.TLSProbe
	name      string   // the certificate's, and the SNI if it is no address
	protocols []string // by ALPN
}

// newSecurity takes the name from p, else from host, which is a Host header.
func newSecurity(p model.TLSProbe, host string, protocols ...string) security {
	name := p.ServerName
	if name == "" {
		name = serverName(host)
	}
	return security{p, name, protocols}
}

// config is made for each handshake, for the files may have changed.
func (s security) config() (*tls.Config, error) {
	files, err := loaded.get(fileNames{s.probe.CA, s.probe.Certificate, s.probe.Key})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLocal, err)
	}
	// crypto/tls sends no address as SNI (RFC 6066, §3), but verifies it.
	c := &tls.Config{ServerName: s.name, NextProtos: s.protocols, InsecureSkipVerify: s.probe.SkipVerify, RootCAs: files.roots}
	if files.own != nil {
		c.Certificates = []tls.Certificate{*files.own}
	}
	return c, nil
}

// secure is conn with TLS on it. Without TLS it is conn itself.
func (c connector) secure(ctx context.Context, conn net.Conn, s security) (net.Conn, error) {
	if s.probe.Mode == model.TLSOff {
		return conn, nil
	}
	config, err := s.config()
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, c.reason(ctx, phaseTLS, err)
	}
	return secure, nil
}

// tlsCheck passes if the backend completes the TLS handshake.
type tlsCheck struct {
	connector
	security security
}

func (c tlsCheck) check(ctx context.Context) (role string, err error) {
	conn, done, err := c.connect(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	_, err = c.secure(ctx, conn, c.security)
	return "", err
}

type fileNames struct{ ca, certificate, key string }

// files are what the named ones hold; nil where none is named.
type files struct {
	roots  *x509.CertPool
	own    *tls.Certificate
	stamps [3]stamp
}

// stamp tells whether a file is still the one that was read.
type stamp struct {
	modified time.Time
	size     int64
}

// store holds what was read, for the checks of many backends name the same files.
// There are as many as configurations name.
type store struct {
	mu sync.Mutex
	of map[fileNames]*files
}

var loaded = store{of: map[fileNames]*files{}}

// get reads the files if they changed since.
func (s *store) get(names fileNames) (*files, error) {
	if names == (fileNames{}) {
		return &files{}, nil
	}
	stamps, err := names.stamps()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.of[names]; known != nil && known.stamps == stamps {
		return known, nil
	}
	// What is being written while we read has another stamp the next time.
	read, err := names.read()
	if err != nil {
		return nil, err
	}
	read.stamps = stamps
	s.of[names] = read
	return read, nil
}

func (n fileNames) stamps() (all [3]stamp, err error) {
	for i, name := range []string{n.ca, n.certificate, n.key} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return all, err
		}
		all[i] = stamp{info.ModTime(), info.Size()}
	}
	return all, nil
}

func (n fileNames) read() (*files, error) {
	f := &files{}
	if n.ca != "" {
		text, err := os.ReadFile(n.ca)
		if err != nil {
			return nil, err
		}
		f.roots = x509.NewCertPool()
		if !f.roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", n.ca)
		}
	}
	if n.certificate != "" {
		own, err := tls.LoadX509KeyPair(n.certificate, n.key)
		if err != nil {
			return nil, fmt.Errorf("certificate %s, key %s: %w", n.certificate, n.key, err)
		}
		f.own = &own
	}
	return f, nil
}

// certificateReason says what is wrong with a certificate, without the time of
// this attempt, and what an operator can do; "" if err is about something else.
func certificateReason(err error) string {
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the certificate is signed by an authority that is not trusted" + issuer(e.Cert) + " (set ca, or verify: false)"
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return strings.TrimPrefix(e.Error(), "x509: ") + " (set server_name, or verify: false)"
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired && e.Cert != nil {
		return fmt.Sprintf("the certificate is valid from %s to %s only", e.Cert.NotBefore.UTC().Format(time.RFC3339), e.Cert.NotAfter.UTC().Format(time.RFC3339))
	}
	return ""
}

func issuer(c *x509.Certificate) string {
	if c == nil || c.Issuer.CommonName == "" {
		return ""
	}
	return fmt.Sprintf(", %q", c.Issuer.CommonName)
}

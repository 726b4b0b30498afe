package discovery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// connectTimeout is that of a connection, its TLS handshake apart.
const connectTimeout = 5 * time.Second

// newHTTPClient returns a client of one server. The environment has no say in
// where backends come from (no proxy), and tokens stay where they belong (no
// redirect). With a socket, connections go to that path.
func newHTTPClient(files model.TLSFiles, socket string) *http.Client {
	dialer := &net.Dialer{
		Timeout: connectTimeout,
		// Finds out within half a minute that the other side of a silent
		// connection is gone.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 4},
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if socket != "" {
			network, address = "unix", socket
		}
		return dialer.DialContext(ctx, network, address)
	}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dial,
			DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return dialTLS(ctx, dial, network, address, files)
			},
		},
	}
}

// dialTLS reads the files for each connection: certificates are renewed while
// we run.
func dialTLS(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), network, address string, files model.TLSFiles) (net.Conn, error) {
	config, err := tlsConfig(files)
	if err != nil {
		return nil, err
	}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	conn, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

func tlsConfig(f model.TLSFiles) (*tls.Config, error) {
	c := &tls.Config{ServerName: f.ServerName, InsecureSkipVerify: f.Insecure, MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("CA certificates: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA certificates: %s holds none in PEM", f.CA)
		}
	}
	if f.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// cause takes the URL and the addresses off the error of a request: who reads it
// knows the server.
func cause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return inShort(err)
}

// firstLine is what the page of an error says, in short.
func firstLine(body []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return strings.ToValidUTF8(line[:min(len(line), 200)], "")
}

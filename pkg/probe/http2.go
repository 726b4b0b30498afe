package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
)

// http2Check passes if the backend answers one HTTP/2 request as expected: over TLS
// if ALPN agrees on h2, without TLS by prior knowledge (h2c).
type http2Check struct{ *httpCheck }

// errNoHTTP2 is the reason of a backend that does TLS and no HTTP/2.
var errNoHTTP2 = errors.New("the backend does not offer HTTP/2 (ALPN h2)")

func (h http2Check) check(ctx context.Context) (role string, err error) {
	return "", h.exchange(ctx)
}

func (h http2Check) exchange(ctx context.Context) error {
	raw, done, err := h.connect(ctx)
	if err != nil {
		return err
	}
	defer done()
	conn, err := h.secure(ctx, raw, h.security)
	if err != nil {
		return err
	}
	protocols := new(http.Protocols)
	if secure, ok := conn.(*tls.Conn); !ok {
		protocols.SetUnencryptedHTTP2(true)
	} else if protocols.SetHTTP2(true); secure.ConnectionState().NegotiatedProtocol != "h2" {
		return errNoHTTP2
	}
	// A transport of this one connection: nothing else is ever dialed, and no proxy
	// asked.
	transport := &http.Transport{
		DialContext: once(conn), DialTLSContext: once(conn), Protocols: protocols, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
	}
	defer transport.CloseIdleConnections()
	req, err := h.request(ctx)
	if err != nil {
		return err
	}
	req.Close = false // HTTP/2 has no such header
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return h.reason(ctx, phaseHeader, err)
	}
	defer resp.Body.Close()
	return h.judge(ctx, resp.StatusCode, resp.Body)
}

package probe

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
)

// http2Check passes if the backend answers one HTTP/2 request as expected: over TLS
// if ALPN agrees on h2, without TLS by prior knowledge (h2c).
type http2Check struct{ *httpCheck }

var (
	// errNoHTTP2 is the reason of a backend that does TLS and no HTTP/2.
	errNoHTTP2 = errors.New("the backend does not offer HTTP/2 (ALPN h2)")
	// errNotHTTP2 is the reason of one that answers by something else.
	errNotHTTP2 = errors.New("the answer is not HTTP/2")
)

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
	if secure, ok := conn.(*tls.Conn); ok && secure.ConnectionState().NegotiatedProtocol != "h2" {
		return errNoHTTP2
	}
	heard := &framed{Conn: conn}
	// The transport hears nothing of the TLS on the connection; the scheme is the
	// request's.
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{DialContext: once(heard), Protocols: protocols, DisableCompression: true, MaxResponseHeaderBytes: maxHeader}
	client, err := transport.NewClientConn(ctx, "http", "backend:80")
	if err != nil {
		return h.reason(ctx, phaseSend, err)
	}
	defer client.Close()
	req, err := h.request(ctx)
	if err != nil {
		return err
	}
	req.Close = false // HTTP/2 has no such header
	resp, err := client.RoundTrip(req)
	if err != nil {
		return h.ended(ctx, heard.cause(err))
	}
	defer resp.Body.Close()
	return h.judge(ctx, resp.StatusCode, resp.Body)
}

// ended is the reason of a connection that ended before there was an answer.
func (c connector) ended(ctx context.Context, err error) error {
	if errors.Is(err, errNotHTTP2) && ctx.Err() == nil {
		return errNotHTTP2
	}
	return c.reason(ctx, phaseHeader, err)
}

// framed is a connection that ends unless the first thing it says is a SETTINGS
// frame, as it must be (RFC 9113, §3.4): libraries write what else they meet into a
// log of their own. And it knows how reading ended, of which a library says this or
// that, as its goroutines come to know of it.
type framed struct {
	net.Conn
	head []byte

	mu    sync.Mutex
	ended error
}

func (f *framed) Read(p []byte) (int, error) {
	const header, kind, settings = 9, 3, 4
	n, err := f.Conn.Read(p)
	if missing := header - len(f.head); missing > 0 {
		f.head = append(f.head, p[:min(n, missing)]...)
		if len(f.head) > kind && f.head[kind] != settings {
			n, err = 0, errNotHTTP2
		}
	}
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.ended = cmp.Or(f.ended, err)
	}
	return n, err
}

// cause is how reading ended; without an end, err.
func (f *framed) cause(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return cmp.Or(f.ended, err)
}

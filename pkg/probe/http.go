package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/xlb-io/xlb/pkg/model"
)

const (
	// maxHeader bounds the response's status line and header.
	maxHeader = 64 << 10
	// maxInterim bounds the 1xx responses before the final one.
	maxInterim = 5
)

// httpCheck passes if the backend answers one HTTP/1.1 request as expected.
//
// It speaks over a connection of its own instead of a [http.Transport]: so
// nothing of the environment (proxies), of the backend (redirects, kept
// connections) or of earlier checks takes part, and a failure is known by the
// step that it happened in.
type httpCheck struct {
	connector
	probe    model.HTTPProbe
	url      string
	host     string
	security security
}

// newHTTPCheck returns the check of t, or one that says why it cannot work. It is
// of HTTP/2 with that type.
func newHTTPCheck(c connector, t Target) checker {
	p := t.Probe
	h := &httpCheck{connector: c, probe: p.HTTP, host: p.HTTP.Host}
	scheme, defaultPort, protocol := "http", uint16(80), "http/1.1"
	if p.TLS.Mode != model.TLSOff {
		scheme, defaultPort = "https", 443
	}
	if p.Type == model.ProbeHTTP2 {
		protocol = "h2"
	}
	if h.host == "" {
		h.host = hostOf(c.addr, defaultPort)
	}
	h.security = newSecurity(p.TLS, h.host, protocol)
	if err := checkHost(h.host); err != nil {
		return failing{err}
	}
	path := fill(p.HTTP.Path, t)
	if path == "" {
		path = "/"
	}
	if !strings.HasPrefix(path, "/") {
		return failing{fmt.Errorf("path %q must begin with a slash", path)}
	}
	// The address stays out of the URL, which cannot hold every IPv6 zone.
	h.url = scheme + "://backend" + path
	if _, err := h.request(context.Background()); err != nil {
		return failing{errors.New(shorten("request: " + err.Error()))}
	}
	if p.Type == model.ProbeHTTP2 {
		return http2Check{h}
	}
	return h
}

func (h *httpCheck) request(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, h.probe.Method, h.url, nil)
	if err != nil {
		return nil, err
	}
	req.Host = h.host
	req.Close = true
	req.Header.Set("User-Agent", "xlb-probe")
	req.Header.Set("Accept", "*/*")
	return req, nil
}

func (h *httpCheck) check(ctx context.Context) (role string, err error) { return "", h.exchange(ctx) }

func (h *httpCheck) exchange(ctx context.Context) error {
	conn, done, err := h.connect(ctx)
	if err != nil {
		return err
	}
	defer done()
	if conn, err = h.secure(ctx, conn, h.security); err != nil {
		return err
	}
	req, err := h.request(ctx)
	if err != nil {
		return err
	}
	// A server may answer and close before it has read the request, so an
	// answer counts for more than a failed write.
	sendErr := req.Write(conn)
	if ctx.Err() != nil {
		return h.reason(ctx, phaseSend, ctx.Err())
	}
	resp, body, err := h.response(ctx, conn, req)
	if err != nil {
		if sendErr != nil {
			return h.reason(ctx, phaseSend, sendErr)
		}
		return err
	}
	return h.judge(ctx, resp.StatusCode, body)
}

// judge compares an answer with what is expected.
func (h *httpCheck) judge(ctx context.Context, status int, body io.Reader) error {
	if !accepted(h.probe.Status, status) {
		return fmt.Errorf("status %d, expected %s", status, statusText(h.probe.Status))
	}
	if h.probe.Body == "" {
		return nil
	}
	return h.search(ctx, body)
}

// response reads the final response up to the end of its header.
func (h *httpCheck) response(ctx context.Context, conn net.Conn, req *http.Request) (*http.Response, io.Reader, error) {
	limit := &io.LimitedReader{R: conn, N: maxHeader}
	r := bufio.NewReader(limit)
	for range maxInterim + 1 {
		resp, err := http.ReadResponse(r, req)
		if err != nil {
			if limit.N == 0 && ctx.Err() == nil {
				return nil, nil, fmt.Errorf("response header is larger than %d KiB", maxHeader>>10)
			}
			return nil, nil, h.reason(ctx, phaseHeader, err)
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			limit.N = math.MaxInt64 // the search of the body has its own limit
			return resp, resp.Body, nil
		}
	}
	return nil, nil, fmt.Errorf("more than %d interim (1xx) responses", maxInterim)
}

// search looks for the expected text in the body.
func (h *httpCheck) search(ctx context.Context, body io.Reader) error {
	found, err := contains(body, []byte(h.probe.Body))
	switch {
	case found:
		return nil
	case err != nil:
		return h.reason(ctx, phaseBody, err)
	}
	return errors.New(shorten(fmt.Sprintf("body does not contain %q (first %d KiB)", h.probe.Body, maxAnswer>>10)))
}

// hostOf is the Host header of an address: without the port that the scheme
// implies (RFC 9110, §4.2) and without an IPv6 zone, which means nothing to the
// backend.
func hostOf(addr netip.AddrPort, defaultPort uint16) string {
	plain := netip.AddrPortFrom(addr.Addr().WithZone(""), addr.Port())
	if addr.Port() != defaultPort {
		return plain.String()
	}
	if addr.Addr().Is6() {
		return "[" + plain.Addr().String() + "]"
	}
	return plain.Addr().String()
}

// checkHost refuses what [http.Request.Write] would cut to something else.
func checkHost(host string) error {
	for i := range len(host) {
		if c := host[i]; c >= 0x80 {
			return fmt.Errorf("host %q must be a name or an address, with or without a port (an international name in its xn-- form)", host)
		} else if c <= ' ' || c == 0x7f || strings.IndexByte(`/\?#@"<>^{|}`+"`", c) >= 0 {
			return fmt.Errorf("host %q must be a name or an address, with or without a port", host)
		}
	}
	return nil
}

// serverName is the TLS server name that belongs to a Host header.
func serverName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

func accepted(set []model.StatusRange, status int) bool {
	if len(set) == 0 {
		return status >= 200 && status <= 399
	}
	for _, r := range set {
		if status >= r.First && status <= r.Last {
			return true
		}
	}
	return false
}

func statusText(set []model.StatusRange) string {
	if len(set) == 0 {
		return "200-399"
	}
	var parts []string
	for _, r := range set {
		text := strconv.Itoa(r.First)
		if r.Last != r.First {
			text += "-" + strconv.Itoa(r.Last)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

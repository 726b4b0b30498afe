package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/xlb-io/xlb/pkg/policy"
)

// Client talks to a daemon. Its methods may be called at the same time. Errors
// are [ErrNoDaemon] (wrapped) if nobody listens, [*Error] if the daemon refused.
type Client struct {
	socket string
	http   *http.Client
}

// dialTimeout bounds the connection to the socket, not the answer.
const dialTimeout = 5 * time.Second

// Dial returns a client of the daemon at socket, after making sure that one
// listens there. The caller calls [Client.Close].
func Dial(socket string) (*Client, error) {
	c := &Client{socket: socket}
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.Dial("unix", socket)
	if err != nil {
		return nil, c.explain(err)
	}
	conn.Close()
	c.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}
	return c, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status returns the daemon's state.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status", nil)
}

// Services returns all services, sorted by name.
func (c *Client) Services(ctx context.Context) ([]Service, error) {
	return get[[]Service](ctx, c, "/v1/services", nil)
}

// Service returns one service. An unknown name is an [*Error] with status 404.
func (c *Client) Service(ctx context.Context, name string) (ServiceDetail, error) {
	return get[ServiceDetail](ctx, c, "/v1/services/"+url.PathEscape(name), nil)
}

// Backends returns the backends of a service, or of all if service is empty,
// sorted by service and address.
func (c *Client) Backends(ctx context.Context, service string) ([]ServiceBackend, error) {
	return get[[]ServiceBackend](ctx, c, "/v1/backends", query("service", service))
}

// Backend returns all that is known of one backend. An unknown one is an [*Error]
// with status 404.
func (c *Client) Backend(ctx context.Context, service string, backend netip.AddrPort) (BackendDetail, error) {
	return get[BackendDetail](ctx, c, backendPath(service, backend, ""), nil)
}

// Reload makes the daemon read its configuration file again and returns once
// the data plane holds it. A file that is wrong is an [*Error] with status 422
// (see [IsConfigError]) whose text has a line per mistake; the daemon then
// runs on with what it had.
func (c *Client) Reload(ctx context.Context) error {
	return c.post(ctx, "/v1/reload", nil, nil)
}

// Plan returns what a configuration would change, applying nothing. Errors are
// as those of Reload.
func (c *Client) Plan(ctx context.Context, r PlanRequest) (Plan, error) {
	var p Plan
	err := c.post(ctx, "/v1/plan", r, &p)
	return p, err
}

// Policies returns the policies in force, sorted by name.
func (c *Client) Policies(ctx context.Context) ([]Policy, error) {
	return get[[]Policy](ctx, c, "/v1/policies", nil)
}

// ReloadPolicy makes the daemon load a policy's bundle again and returns once it is
// asked. Errors are as those of Reload.
func (c *Client) ReloadPolicy(ctx context.Context, name string) error {
	return c.post(ctx, "/v1/policies/"+url.PathEscape(name)+"/reload", nil, nil)
}

// SetTable replaces what a table of a policy holds. One that is filled from a file
// is refused.
func (c *Client) SetTable(ctx context.Context, name, table string, entries []policy.TableEntry) error {
	return c.post(ctx, "/v1/policies/"+url.PathEscape(name)+"/tables/"+url.PathEscape(table), TableRequest{Entries: entries}, nil)
}

// Stats returns the counters.
func (c *Client) Stats(ctx context.Context, f StatsFilter) (Stats, error) {
	q := query("service", f.Service)
	if f.NoBackends {
		q.Set("backends", "false")
	} else if f.Counting {
		q.Set("backends", "counting")
	}
	return get[Stats](ctx, c, "/v1/stats", q)
}

// Flows streams the live flows that match, in no order. After an error, which
// comes with a zero Flow, the stream ends.
func (c *Client) Flows(ctx context.Context, f FlowFilter) iter.Seq2[Flow, error] {
	return func(yield func(Flow, error) bool) {
		q := query("service", f.Service, "backend", f.Backend, "client", f.Client)
		if f.Limit > 0 {
			q.Set("limit", strconv.Itoa(f.Limit))
		}
		resp, err := c.do(ctx, http.MethodGet, "/v1/flows", q, nil)
		if err != nil {
			yield(Flow{}, err)
			return
		}
		defer resp.Body.Close()
		for dec := json.NewDecoder(resp.Body); ; {
			var one Flow
			err := dec.Decode(&one)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Flow{}, fmt.Errorf("flows: the stream broke off: %w", c.explain(err)))
				return
			}
			if !yield(one, nil) {
				return
			}
		}
	}
}

// backendPath is where a backend is found, or where something is done to it.
func backendPath(service string, backend netip.AddrPort, verb string) string {
	path := "/v1/services/" + url.PathEscape(service) + "/backends/" + url.PathEscape(backend.String())
	if verb != "" {
		path += "/" + verb
	}
	return path
}

// query takes names and values in turn and leaves out empty values.
func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func get[T any](ctx context.Context, c *Client, path string, q url.Values) (T, error) {
	var v T
	resp, err := c.do(ctx, http.MethodGet, path, q, nil)
	if err != nil {
		return v, err
	}
	return v, c.decode(resp, path, &v)
}

func (c *Client) post(ctx context.Context, path string, body, answer any) error {
	resp, err := c.do(ctx, http.MethodPost, path, nil, body)
	if err != nil {
		return err
	}
	return c.decode(resp, path, answer)
}

// do sends a request; the caller closes the body of the answer, which is 2xx.
func (c *Client) do(ctx context.Context, method, path string, q url.Values, body any) (*http.Response, error) {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request for %s: %w", path, err)
		}
		in = bytes.NewReader(b)
	}
	target := "http://xlb" + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, in)
	if err != nil {
		return nil, fmt.Errorf("request %s: %w", path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	var e errorBody
	if json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&e) != nil || e.Error == "" {
		e.Error = "the daemon answered " + resp.Status
	}
	return nil, &Error{Status: resp.StatusCode, Message: e.Error}
}

func (c *Client) decode(resp *http.Response, path string, v any) error {
	defer resp.Body.Close()
	if v == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("answer of the daemon to %s: %w (is xlb as old as the daemon?)", path, err)
	}
	return nil
}

// explain says what to do about an error of the connection.
func (c *Client) explain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w at %s (is `xlb run` running?)", ErrNoDaemon, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission to talk to the daemon at %s (run as root, or as a member of the socket's group)", c.socket)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("the daemon at %s ended in the middle of the answer: %w", c.socket, err)
	}
	return fmt.Errorf("daemon at %s: %w", c.socket, err)
}

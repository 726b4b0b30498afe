package testlab

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// HTTPClient is a client inside the namespace. Without keepAlive every
// request is a connection of its own. The timeout holds for a whole request
// with its body; 0 is none.
func (n *Namespace) HTTPClient(keepAlive bool, timeout time.Duration) (*http.Client, error) {
	transport := &http.Transport{
		DialContext:         n.Dial,
		DisableKeepAlives:   !keepAlive,
		DisableCompression:  true,
		MaxIdleConnsPerHost: 1 << 16,
	}
	err := n.lab.own(func() error {
		transport.CloseIdleConnections()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: transport, Timeout: timeout}, nil
}

// Get fetches a URL and returns the body without surrounding white space. A
// status other than 200 is an error.
func Get(ctx context.Context, client *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", fmt.Errorf("get %s: %w", url, err)
	}
	text := strings.TrimSpace(string(body))
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("get %s: %s: %s", url, response.Status, text)
	}
	return text, nil
}

// UDPFlow is a UDP socket connected to an echo server: one flow to a load
// balancer.
type UDPFlow struct{ net.Conn }

// UDPFlow opens a flow from a port of its own.
func (n *Namespace) UDPFlow(ctx context.Context, to netip.AddrPort) (*UDPFlow, error) {
	c, err := n.Dial(ctx, "udp", to.String())
	if err != nil {
		return nil, err
	}
	return &UDPFlow{c}, nil
}

// Ask sends the payload, up to tries times, and waits after each for the
// echo. It returns the name of the server that answered and how often the
// payload was sent. An answer from another address than was asked is none.
func (f *UDPFlow) Ask(ctx context.Context, payload []byte, tries int, wait time.Duration) (backend string, sent int, err error) {
	buf := make([]byte, 65536)
	for sent < tries {
		if err = ctx.Err(); err != nil {
			break
		}
		deadline := time.Now().Add(wait)
		sent++
		if backend, err = f.ask(deadline, payload, buf); err == nil {
			return backend, sent, nil
		}
		// A closed port answers at once; the next try is not due before time.
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(deadline)):
		}
	}
	return "", sent, fmt.Errorf("no echo from %s after %d datagrams: %w", f.RemoteAddr(), sent, err)
}

func (f *UDPFlow) ask(deadline time.Time, payload, buf []byte) (backend string, err error) {
	if err := f.SetDeadline(deadline); err != nil {
		return "", err
	}
	if _, err := f.Write(payload); err != nil {
		return "", err
	}
	for {
		n, err := f.Read(buf)
		if err != nil {
			return "", err
		}
		name, echo, ok := bytes.Cut(buf[:n], []byte(" "))
		// Anything else is the late answer to an earlier question.
		if ok && bytes.Equal(echo, payload) {
			return string(name), nil
		}
	}
}

// AskUDP is one question over a flow of its own; see [UDPFlow.Ask].
func (n *Namespace) AskUDP(ctx context.Context, to netip.AddrPort, payload []byte, tries int, wait time.Duration) (backend string, sent int, err error) {
	f, err := n.UDPFlow(ctx, to)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	return f.Ask(ctx, payload, tries, wait)
}

// Held is a set of open TCP connections to echo servers.
type Held struct {
	conns    []*heldConn
	parallel int
}

type heldConn struct {
	net.Conn
	reader  *bufio.Reader
	backend string
}

// HoldTCP opens count connections, at most parallel at a time, waits for each
// one's greeting and keeps them all open. It raises the process's limit of
// open files where count needs that; servers within this process need as many
// again, which [Namespace.StartTCPEchoProcess] avoids. On error all are closed.
func (n *Namespace) HoldTCP(ctx context.Context, to netip.AddrPort, count, parallel int) (*Held, error) {
	if err := raiseFileLimit(uint64(count)); err != nil {
		return nil, err
	}
	h := &Held{conns: make([]*heldConn, count), parallel: parallel}
	err := h.each(ctx, func(ctx context.Context, i int) error {
		c, err := n.Dial(ctx, "tcp", to.String())
		if err != nil {
			return err
		}
		h.conns[i] = &heldConn{Conn: c, reader: bufio.NewReaderSize(c, 64)}
		return underContext(ctx, c.SetDeadline, func() error {
			name, err := h.conns[i].reader.ReadString('\n')
			h.conns[i].backend = strings.TrimSuffix(name, "\n")
			return err
		})
	})
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("hold %d connections to %s: %w", count, to, err)
	}
	return h, nil
}

// Len is the number of connections.
func (h *Held) Len() int { return len(h.conns) }

// Backends counts the connections of each server by its name.
func (h *Held) Backends() map[string]int {
	count := make(map[string]int)
	for _, c := range h.conns {
		count[c.backend]++
	}
	return count
}

// Echo sends a few bytes over every connection and waits for their return.
// It returns how many connections failed, with the first error.
func (h *Held) Echo(ctx context.Context) (failed int, err error) {
	var mu sync.Mutex
	_ = h.each(ctx, func(ctx context.Context, i int) error {
		if e := h.conns[i].echo(ctx, i); e != nil {
			mu.Lock()
			defer mu.Unlock()
			failed++
			if err == nil {
				err = fmt.Errorf("connection %d, to %s: %w", i, h.conns[i].backend, e)
			}
		}
		return nil
	})
	return failed, err
}

func (c *heldConn) echo(ctx context.Context, i int) error {
	return underContext(ctx, c.SetDeadline, func() error {
		want := fmt.Sprintf("%d\n", i)
		if _, err := io.WriteString(c, want); err != nil {
			return err
		}
		got, err := c.reader.ReadString('\n')
		if err == nil && got != want {
			err = fmt.Errorf("sent %q, got %q back", want, got)
		}
		return err
	})
}

func (h *Held) each(ctx context.Context, fn func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, h.parallel))
	for i := range h.conns {
		group.Go(func() error { return fn(ctx, i) })
	}
	return group.Wait()
}

// Close closes all connections.
func (h *Held) Close() {
	for _, c := range h.conns {
		if c != nil {
			c.Close()
		}
	}
}

// raiseFileLimit makes room for count connections and what else is open.
func raiseFileLimit(count uint64) error {
	need := count + 1024
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read limit of open files: %w", err)
	}
	if limit.Cur >= need {
		return nil
	}
	limit.Cur, limit.Max = need, max(limit.Max, need)
	if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise limit of open files to %d: %w (raise the hard limit, see ulimit -Hn)", need, err)
	}
	return nil
}

package testlab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// BackendHeader is the response header with the name of the server.
const BackendHeader = "X-Backend"

// HTTPServer answers
//
//	/                        the server's name and a newline
//	/health                  "ok", or 503 after SetHealthy(false)
//	/large?bytes=N           N bytes as fast as they go (default 1 MiB)
//	/slow?bytes=N&rate=R     N bytes at R bytes a second (default 64 KiB/s)
//
// where the bytes are those that VerifyBody expects.
type HTTPServer struct {
	Server
	probes  atomic.Uint64
	sick    atomic.Bool
	delay   atomic.Int64 // of /health, a time.Duration
	current atomic.Int64
}

// StartHTTP starts an HTTP server.
func (n *Namespace) StartHTTP(port uint16) (*HTTPServer, error) {
	h := &HTTPServer{Server: Server{Name: n.Name, Port: port}}
	h.start = func() (func() error, error) {
		l, err := n.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return nil, err
		}
		return h.serve(l), nil
	}
	return h, n.launch(&h.Server)
}

// SetDelay makes each answer to /health wait.
func (h *HTTPServer) SetDelay(d time.Duration) { h.delay.Store(int64(d)) }

// SetHealthy says what /health answers from now on.
func (h *HTTPServer) SetHealthy(healthy bool) { h.sick.Store(!healthy) }

// Probes is the number of requests for /health; Requests does not count them.
func (h *HTTPServer) Probes() uint64 { return h.probes.Load() }

// Open is the number of connections open now.
func (h *HTTPServer) Open() int { return int(h.current.Load()) }

func (h *HTTPServer) serve(l net.Listener) (stop func() error) {
	mux := http.NewServeMux()
	mux.HandleFunc("/health", h.health)
	mux.HandleFunc("/large", h.counted(h.large))
	mux.HandleFunc("/slow", h.counted(h.slow))
	mux.HandleFunc("/{$}", h.counted(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, h.Name)
	}))
	server := &http.Server{Handler: mux, ConnState: h.connState, ReadHeaderTimeout: time.Minute}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	return func() error {
		// Both: a server that Close overtakes before Serve has run does not
		// know its listener yet.
		err := errors.Join(server.Close(), ignoreClosed(l.Close()))
		wg.Wait()
		return err
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (h *HTTPServer) connState(_ net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		h.connections.Add(1)
		h.current.Add(1)
	case http.StateClosed, http.StateHijacked:
		h.current.Add(-1)
	}
}

func (h *HTTPServer) counted(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h.requests.Add(1)
		w.Header().Set(BackendHeader, h.Name)
		next(w, r)
	}
}

func (h *HTTPServer) health(w http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
		return
	case <-time.After(time.Duration(h.delay.Load())):
	}
	h.probes.Add(1)
	if h.sick.Load() {
		http.Error(w, "told to fail", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (h *HTTPServer) large(w http.ResponseWriter, r *http.Request) {
	n, err := number(r, "bytes", 1<<20)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	// An error here is a client that left.
	_, _ = io.CopyN(w, &pattern{}, n)
}

func (h *HTTPServer) slow(w http.ResponseWriter, r *http.Request) {
	n, err := number(r, "bytes", 1<<20)
	rate, err2 := number(r, "rate", 64<<10)
	if err := errors.Join(err, err2); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	var (
		body   pattern
		sent   int64
		start  = time.Now()
		ticker = time.NewTicker(20 * time.Millisecond)
	)
	defer ticker.Stop()
	for {
		due := min(n, int64(time.Since(start).Seconds()*float64(rate)))
		if _, err := io.CopyN(w, &body, due-sent); err != nil {
			return
		}
		if sent = due; sent == n {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-ticker.C:
		}
	}
}

func number(r *http.Request, name string, byDefault int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return byDefault, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s=%q: want a positive number", name, text)
	}
	return n, nil
}

// pattern is an endless body in which every lost, doubled or swapped piece
// shows. Its period is a prime, so that no piece of a power of two repeats.
type pattern struct{ at int }

var patternTable = func() []byte {
	table := make([]byte, 65521)
	x := uint32(2463534242)
	for i := range table {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		table[i] = byte(x)
	}
	return table
}()

func (p *pattern) Read(b []byte) (int, error) {
	n := copy(b, patternTable[p.at:])
	p.at = (p.at + n) % len(patternTable)
	return n, nil
}

// VerifyBody reads a body of /large or /slow to its end and says where it
// first differs from what was sent, or how it ended early. It returns the
// number of right bytes.
func VerifyBody(body io.Reader, want int64) (int64, error) {
	var (
		expect pattern
		got    int64
		buf    = make([]byte, 32<<10)
		should = make([]byte, len(buf))
	)
	for {
		n, err := body.Read(buf)
		// A pattern's read may end at its period.
		_, _ = io.ReadFull(&expect, should[:n])
		for i := range n {
			if buf[i] != should[i] {
				return got + int64(i), fmt.Errorf("body differs at byte %d", got+int64(i))
			}
		}
		got += int64(n)
		switch {
		case err == io.EOF && got == want:
			return got, nil
		case err == io.EOF:
			return got, fmt.Errorf("body ends after %d of %d bytes", got, want)
		case err != nil:
			return got, fmt.Errorf("body fails after %d of %d bytes: %w", got, want, err)
		}
	}
}

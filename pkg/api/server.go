package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Server answers requests for a [Daemon].
type Server struct {
	daemon  Daemon
	metrics http.Handler
	log     *slog.Logger
	http    http.Server
	running sync.WaitGroup
	mu      sync.Mutex
	over    bool // no request may begin
}

// Times of a connection. An answer may take as long as it needs, but a reader
// that takes nothing for chunkTimeout is cut off.
const (
	headerTimeout   = 10 * time.Second
	bodyTimeout     = time.Minute
	idleTimeout     = 2 * time.Minute
	chunkTimeout    = 30 * time.Second
	shutdownTimeout = 2 * time.Second
)

// NewServer returns a server of d. Metrics answers at /metrics; nil: nothing does.
func NewServer(d Daemon, log *slog.Logger, metrics http.Handler) *Server {
	s := &Server{daemon: d, log: log, metrics: metrics}
	s.http = http.Server{
		Handler: s.handler(), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve answers until ctx ends, and then returns nil once the last request is
// answered or, after two seconds, cut off. No method of the daemon is running
// then. The listener is closed and the socket removed.
func (s *Server) Serve(ctx context.Context, l *Listener) error {
	s.http.BaseContext = func(net.Listener) context.Context { return ctx }
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(l) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		err = s.shutdown()
		<-failed
	}
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.running.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// shutdown waits for requests; those that do not end are cut off, which is no
// error.
func (s *Server) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return s.http.Close()
	}
	return err
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	routes := map[string]func(*http.Request) (any, error){
		"GET /v1/status":                                        s.status,
		"GET /v1/services":                                      s.services,
		"GET /v1/services/{service}":                            s.service,
		"GET /v1/backends":                                      s.backends,
		"GET /v1/overrides":                                     s.overrides,
		"POST /v1/overrides/clear":                              s.clearOverrides,
		"GET /v1/zones":                                         s.zones,
		"POST /v1/zones/{verb}":                                 s.zoneVerb,
		"POST /v1/services/{service}/{verb}":                    s.serviceVerb,
		"GET /v1/stats":                                         s.stats,
		"POST /v1/reload":                                       s.reload,
		"POST /v1/plan":                                         s.plan,
		"GET /v1/policies":                                      s.policies,
		"POST /v1/policies/{policy}/reload":                     s.reloadPolicy,
		"POST /v1/policies/{policy}/tables/{table}":             s.table,
		"GET /v1/services/{service}/backends/{address}":         s.backend,
		"POST /v1/services/{service}/backends/{address}/{verb}": s.steer,
	}
	methods := map[string]string{"/v1/flows": http.MethodGet}
	for pattern, f := range routes {
		method, path, _ := strings.Cut(pattern, " ")
		methods[path] = method
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			answer, err := f(r)
			if err != nil {
				s.fail(w, r, err)
				return
			}
			send(w, http.StatusOK, answer)
		})
	}
	mux.HandleFunc("GET /v1/flows", s.flows)
	if s.metrics != nil {
		mux.Handle("GET /metrics", s.metrics)
		methods["/metrics"] = http.MethodGet
	}
	for path, method := range methods {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", method)
			s.fail(w, r, Errorf(http.StatusMethodNotAllowed, "%s %s: this path takes %s", r.Method, r.URL.Path, method))
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, Errorf(http.StatusNotFound,
			"no such path %s (there are /v1/status, services, backends, zones, overrides, policies, flows, stats, reload and plan)", r.URL.Path))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.begin() {
			s.fail(w, r, Errorf(http.StatusServiceUnavailable, "the daemon is shutting down"))
			return
		}
		defer s.running.Done()
		if err := readBody(w, r); err != nil {
			s.fail(w, r, err)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.running.Add(1)
	}
	return !s.over
}

// readBody reads the whole body before anything is done. A deadline for
// reading that stayed would end long answers, too.
func readBody(w http.ResponseWriter, r *http.Request) error {
	if r.Body == http.NoBody {
		return nil
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return Errorf(http.StatusRequestEntityTooLarge, "the request is larger than %d bytes", maxBody)
	}
	if err != nil {
		return Errorf(http.StatusBadRequest, "read the request: %v", err)
	}
	_ = control.SetReadDeadline(time.Time{})
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

func (s *Server) status(*http.Request) (any, error) { return s.daemon.Status(), nil }

func (s *Server) services(r *http.Request) (any, error) {
	all := s.daemon.Status().Services
	name := r.URL.Query().Get("name")
	if name == "" {
		return all, nil
	}
	found := []Service{}
	for _, one := range all {
		if one.Name == name {
			found = append(found, one)
		}
	}
	return found, nil
}

func (s *Server) service(r *http.Request) (any, error) {
	return s.daemon.Service(r.PathValue("service"))
}

func (s *Server) backends(r *http.Request) (any, error) {
	return s.daemon.Backends(r.URL.Query().Get("service"))
}

func (s *Server) overrides(*http.Request) (any, error) { return s.daemon.Overrides(), nil }

func (s *Server) reload(r *http.Request) (any, error) {
	return struct{}{}, s.daemon.Reload(r.Context())
}

func (s *Server) plan(r *http.Request) (any, error) {
	var req PlanRequest
	if err := decodeBody(r, &req); err != nil {
		return nil, err
	}
	return s.daemon.Plan(r.Context(), req)
}

func (s *Server) policies(*http.Request) (any, error) { return s.daemon.Policies(), nil }

func (s *Server) reloadPolicy(r *http.Request) (any, error) {
	return struct{}{}, s.daemon.ReloadPolicy(r.Context(), r.PathValue("policy"))
}

func (s *Server) table(r *http.Request) (any, error) {
	var req TableRequest
	if err := decodeBody(r, &req); err != nil {
		return nil, err
	}
	return struct{}{}, s.daemon.SetTable(r.PathValue("policy"), r.PathValue("table"), req.Entries)
}

func (s *Server) stats(r *http.Request) (any, error) {
	q := r.URL.Query()
	f := StatsFilter{Service: q.Get("service")}
	switch q.Get("backends") {
	case "", "true":
	case "false":
		f.NoBackends = true
	case "counting":
		f.Counting = true
	default:
		return nil, Errorf(http.StatusBadRequest, "backends=%s is none of true, false and counting", q.Get("backends"))
	}
	return s.daemon.Stats(r.Context(), f)
}

func (s *Server) backend(r *http.Request) (any, error) {
	address, err := addressOf(r)
	if err != nil {
		return nil, err
	}
	return s.daemon.Backend(r.Context(), r.PathValue("service"), address)
}

func addressOf(r *http.Request) (netip.AddrPort, error) {
	address, err := netip.ParseAddrPort(r.PathValue("address"))
	if err != nil {
		return address, Errorf(http.StatusBadRequest, "backend %q is not address:port (for example 10.0.0.11:8080)", r.PathValue("address"))
	}
	return address, nil
}

// steer does one of the verbs on a backend.
func (s *Server) steer(r *http.Request) (any, error) {
	service, verb := r.PathValue("service"), r.PathValue("verb")
	address, err := addressOf(r)
	if err != nil {
		return nil, err
	}
	switch verb {
	case "drain":
		after, err := decodeDrain(r)
		if err != nil {
			return nil, err
		}
		return struct{}{}, s.daemon.Drain(r.Context(), service, address, after)
	case "undrain":
		return struct{}{}, s.daemon.Undrain(r.Context(), service, address)
	case "weight":
		weight, err := decodeWeight(r)
		if err != nil {
			return nil, err
		}
		return struct{}{}, s.daemon.SetWeight(r.Context(), service, address, weight)
	}
	return s.membership(r, service, address, verb)
}

// decodeWeight returns nil for a reset.
func decodeWeight(r *http.Request) (*uint16, error) {
	var req WeightRequest
	if err := decodeBody(r, &req); err != nil {
		return nil, err
	}
	switch {
	case req.Reset && req.Weight == nil:
		return nil, nil
	case req.Reset || req.Weight == nil:
		return nil, Errorf(http.StatusBadRequest, `give either {"weight": N} or {"reset": true}`)
	case *req.Weight < 0 || *req.Weight > 65535:
		return nil, Errorf(http.StatusBadRequest, "weight %d is not 0 to 65535", *req.Weight)
	}
	w := uint16(*req.Weight)
	return &w, nil
}

// decodeBody reads one JSON value; no body is an empty one.
func decodeBody(r *http.Request, v any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil && dec.More() {
		err = errors.New("more than one JSON value")
	}
	if err != nil {
		return Errorf(http.StatusBadRequest, "body of the request: %v", err)
	}
	return nil
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	if e, ok := errors.AsType[*Error](err); ok {
		status = e.Status
	}
	if r.Context().Err() != nil {
		return // nobody reads the answer
	}
	s.log.Debug("request failed", "method", r.Method, "path", r.URL.Path, "status", status, "error", err)
	send(w, status, errorBody{Error: err.Error()})
}

func send(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(chunkTimeout))
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the reader is gone
}

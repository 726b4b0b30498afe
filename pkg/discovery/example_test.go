package discovery

// A source of one's own, as docs/discovery.md describes it: this is what a file
// nomad.go would hold, and below it is run.

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// nomadSource would stand beside the others in pkg/model/source.go.
type nomadSource struct {
	// Address is that of an agent: http://127.0.0.1:4646.
	Address string
	Service string
	// Wait is the longest blocking query.
	Wait time.Duration
}

// nomad follows a service in Nomad's own catalogue with blocking queries.
type nomad struct {
	nomadSource
	base model.Backend
}

func newNomad(s nomadSource, base model.Backend) Source { return &nomad{s, base} }

func (n *nomad) String() string { return "service " + n.Service + " at " + n.Address }

func (n *nomad) Run(ctx context.Context, emit Emit) error {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	index := uint64(0)
	for {
		registrations, next, err := n.ask(ctx, client, index)
		if err != nil {
			return err // the manager keeps the last answer, and runs it again
		}
		if next < index { // the servers were restored: begin anew
			next = 0
		}
		index = next
		backends, warnings := n.backends(registrations)
		emit(backends, warnings...)
	}
}

// registration is what is used of Nomad's answer.
type registration struct {
	ID, Address, Datacenter string
	Port                    uint16
	Tags                    []string
}

// ask returns the registrations when they differ from those at index, or after
// the wait.
func (n *nomad) ask(ctx context.Context, client *http.Client, index uint64) (list []registration, next uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, n.Wait+n.Wait/16+10*time.Second) // Nomad adds up to a 16th
	defer cancel()
	query := url.Values{"index": {strconv.FormatUint(index, 10)}, "wait": {n.Wait.String()}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.Address+"/v1/service/"+url.PathEscape(n.Service)+"?"+query.Encode(), nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("nomad answered %s", resp.Status)
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, maxDocument)).Decode(&list); err != nil {
		return nil, 0, fmt.Errorf("nomad's answer: %w", err)
	}
	next, err = strconv.ParseUint(resp.Header.Get("X-Nomad-Index"), 10, 64)
	if err != nil {
		return nil, 0, fmt.Errorf("nomad's answer has no index: %w", err)
	}
	return list, max(next, 1), nil
}

// backends begin as copies of the base, of which is replaced what Nomad says.
func (n *nomad) backends(list []registration) (all []model.Backend, warnings []string) {
	for _, r := range list {
		address, err := netip.ParseAddr(r.Address)
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("registration %s: %v", r.ID, err))
			continue
		}
		b := n.base
		b.Address = netip.AddrPortFrom(address, cmp.Or(r.Port, b.Address.Port()))
		b.Zone = cmp.Or(r.Datacenter, b.Zone)
		b.Tags = model.TagsOf(append(b.Tags.List(), r.Tags...)...)
		all = append(all, b)
	}
	return all, warnings
}

// nomadServer answers as Nomad does.
type nomadServer struct {
	mu      sync.Mutex
	index   uint64
	list    string
	changed chan struct{}
}

func (s *nomadServer) set(index uint64, list string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index, s.list = index, list
	if s.changed != nil {
		close(s.changed)
	}
	s.changed = make(chan struct{})
}

func (s *nomadServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked := r.URL.Query().Get("index")
	s.mu.Lock()
	changed, same := s.changed, asked == strconv.FormatUint(s.index, 10)
	s.mu.Unlock()
	if same {
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path != "/v1/service/web" || s.list == "" {
		http.Error(w, "no leader", http.StatusInternalServerError)
		return
	}
	w.Header().Set("X-Nomad-Index", strconv.FormatUint(s.index, 10))
	fmt.Fprint(w, s.list)
}

func TestNomad(t *testing.T) {
	answers := &nomadServer{}
	server := httptest.NewServer(answers)
	defer server.Close()
	const one = `{"ID": "_nomad-task-1", "ServiceName": "web", "Datacenter": "dc1", "Address": "10.0.0.1", "Port": 23456, "Tags": ["v2"]}`
	answers.set(7, "["+one+`, {"ID": "odd", "Address": "host.example", "Port": 1}]`)

	m := NewManager(Options{
		MinBackoff: 10 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		New: func(s model.Source) Source { // in nomad.go: a line in kinds
			return newNomad(nomadSource{Address: server.URL, Service: "web", Wait: time.Minute}, s.Backend)
		},
	})
	defer m.Close()
	web := service("web", nil, "nomad")
	m.Apply([]model.Service{web})
	l := &live{t: t, Manager: m}
	s := l.until("10.0.0.1:23456=1", "")
	if len(s.Warnings) != 1 || !strings.HasPrefix(s.Warnings[0], "registration odd: ") {
		t.Errorf("warnings %q", s.Warnings)
	}
	same(t, "backends", m.Preview([]model.Service{web})["web"], []model.Backend{
		{Address: netip.MustParseAddrPort("10.0.0.1:23456"), Weight: 1, Zone: "dc1", Tags: "v2"},
	})
	answers.set(9, "["+one+`, {"ID": "2", "Address": "10.0.0.2", "Port": 80}]`)
	l.until("10.0.0.1:23456=1 10.0.0.2:80=1", "")
	answers.set(10, "")
	l.until("10.0.0.1:23456=1 10.0.0.2:80=1", "nomad answered 500")
	answers.set(3, "["+one+"]") // restored from a snapshot
	l.until("10.0.0.1:23456=1", "")
}

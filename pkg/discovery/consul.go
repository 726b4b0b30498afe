package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

const (
	// consulGrace is what an answer may take beyond the wait that was asked for,
	// to which Consul adds up to a sixteenth.
	consulGrace = 10 * time.Second
	// consulSpacing is the least time between two questions. Each write to the
	// service ends a blocking query, and a busy one has many.
	consulSpacing = 200 * time.Millisecond
	// consulPoll is the time between questions that do not block.
	consulPoll = 2 * time.Second
	// maxAnswer bounds what is read of an answer, 16 thousand instances and more.
	maxAnswer = 64 << 20
)

// consulSource follows the passing instances of a service with blocking queries
// to a Consul agent: the answer to a question that names an index comes when
// something has changed since.
type consulSource struct {
	backend model.Backend
	query   model.ConsulSource
}

func newConsul(s model.Source) Source { return &consulSource{backend: s.Backend, query: s.Consul} }

func (c *consulSource) String() string {
	return fmt.Sprintf("consul service %s at %s", c.query.Service, c.query.Address)
}

// Run begins with a question that does not block, so an index never outlives a
// failure: the agent that answers next may be another, with a state of its own.
func (c *consulSource) Run(ctx context.Context, emit Emit) error {
	client, base := c.client()
	defer client.CloseIdleConnections()
	index := uint64(0)
	for {
		asked := time.Now()
		instances, now, err := c.ask(ctx, client, base, index)
		if err != nil {
			return err
		}
		backends, warnings, err := c.backends(instances)
		if err != nil {
			return err
		}
		emit(backends, warnings...)
		spacing := consulSpacing
		if now == 0 {
			spacing = consulPoll
		}
		index = nextIndex(index, now, time.Since(asked) < c.query.Wait)
		if err := pause(ctx, spacing-time.Since(asked)); err != nil {
			return err
		}
	}
}

// nextIndex is what the next question waits on; early says that the answer came
// before its wait was over. Index 0 does not wait.
//
// One that went backwards is of another state, as after a restart or a restored
// snapshot: to wait for more than it could take for ever. Consul lets the questions
// that wait while it restores go early, with an answer from before.
func nextIndex(last, now uint64, early bool) uint64 {
	if now < last || now == last && early {
		return 0
	}
	return now
}

// client returns how to reach the agent.
func (c *consulSource) client() (client *http.Client, base string) {
	if path, ok := strings.CutPrefix(c.query.Address, "unix://"); ok {
		return newHTTPClient(c.query.TLS, path), "http://localhost"
	}
	return newHTTPClient(c.query.TLS, ""), strings.TrimSuffix(c.query.Address, "/")
}

// ask returns the instances and the index of the answer, 0 if it has none.
func (c *consulSource) ask(ctx context.Context, client *http.Client, base string, index uint64) ([]instance, uint64, error) {
	wait := c.query.Wait
	ctx, cancel := context.WithTimeout(ctx, wait+wait/16+consulGrace)
	defer cancel()
	request, err := c.request(ctx, base, index)
	if err != nil {
		return nil, 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, 0, cause(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("answer of consul: %w", err)
	case response.StatusCode != http.StatusOK:
		return nil, 0, fmt.Errorf("consul answers %s: %s", response.Status, firstLine(body))
	case len(body) > maxAnswer:
		return nil, 0, fmt.Errorf("answer of consul is longer than %d MiB", maxAnswer>>20)
	case response.Header.Get("X-Consul-Results-Filtered-By-ACLs") == "true":
		return nil, 0, errors.New("consul hides instances from this token (it needs service:read and node:read)")
	}
	var instances []instance
	if err := json.Unmarshal(body, &instances); err != nil {
		return nil, 0, fmt.Errorf("answer of consul: %w", err)
	}
	now, err := strconv.ParseUint(response.Header.Get("X-Consul-Index"), 10, 64)
	if err != nil {
		now = 0
	}
	return instances, now, nil
}

func (c *consulSource) request(ctx context.Context, base string, index uint64) (*http.Request, error) {
	q := url.Values{"passing": {"1"}}
	for key, value := range map[string]string{"dc": c.query.Datacenter, "ns": c.query.Namespace, "partition": c.query.Partition} {
		if value != "" {
			q.Set(key, value)
		}
	}
	q["tag"] = c.query.Tags
	if index > 0 {
		q.Set("index", strconv.FormatUint(index, 10))
		q.Set("wait", fmt.Sprintf("%dms", c.query.Wait.Milliseconds()))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/v1/health/service/"+url.PathEscape(c.query.Service)+"?"+q.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("address of consul: %w", err)
	}
	token := c.query.Token
	if c.query.TokenFile != "" {
		// For each question: tokens are rotated.
		content, err := os.ReadFile(c.query.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("token: %w", err)
		}
		token = strings.TrimSpace(string(content))
	}
	if token != "" {
		request.Header.Set("X-Consul-Token", token)
	}
	return request, nil
}

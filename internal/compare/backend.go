package compare

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
)

// statusPort is where a backend tells its own counters, on its loopback.
const statusPort = 81

// body is a small answer, so that connections and requests count, not bytes.
var body = strings.Repeat("x", 128)

// webServer is the configuration of a backend's nginx.
func webServer(files, name string) string {
	return fmt.Sprintf(`daemon off;
worker_processes 1;
worker_rlimit_nofile 8192;
pid %[1]s.pid;
error_log stderr warn;
events {
	worker_connections 4096;
	multi_accept on;
}
http {
	access_log off;
	keepalive_requests 1000000000;
	keepalive_timeout 10m;
	server {
		listen %[2]d backlog=4096;
		location = /who { return 200 "%[3]s $remote_addr $server_addr\n"; }
		location / { return 200 "%[4]s"; }
	}
	server {
		listen 127.0.0.1:%[5]d;
		location / { stub_status; }
	}
}
`, files, webPort, name, body, statusPort)
}

// served is what a backend has counted.
type served struct{ connections, requests uint64 }

// served asks all backends.
func (s *site) served(ctx context.Context) ([]served, error) {
	var all []served
	for _, b := range s.Backends {
		one, err := ask(ctx, b)
		if err != nil {
			return nil, fmt.Errorf("counters of %s: %w", b.Name, err)
		}
		all = append(all, one)
	}
	return all, nil
}

func ask(ctx context.Context, b *testlab.Backend) (c served, err error) {
	client, err := b.HTTPClient(false, 5*time.Second)
	if err != nil {
		return c, err
	}
	text, err := testlab.Get(ctx, client, fmt.Sprintf("http://127.0.0.1:%d/", statusPort))
	if err != nil {
		return c, err
	}
	// The third line is "accepts handled requests" as numbers.
	lines := strings.Split(text, "\n")
	if len(lines) < 3 {
		return c, fmt.Errorf("nginx status: %q", text)
	}
	var handled uint64
	if _, err := fmt.Sscan(lines[2], &c.connections, &handled, &c.requests); err != nil {
		return c, fmt.Errorf("nginx status: %q: %w", text, err)
	}
	return c, nil
}

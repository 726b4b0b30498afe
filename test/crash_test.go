package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// openBody starts a request and returns its body.
func openBody(ctx context.Context, client *http.Client, url string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("get %s: %s", url, response.Status), response.Body.Close())
	}
	return response.Body, nil
}

// slowDownload starts a download of so many seconds. The function it returns
// waits for its end.
func (n *network) slowDownload(to netip.AddrPort, seconds int) (wait func() error) {
	n.t.Helper()
	const rate = 512 << 10
	size := int64(seconds * rate)
	client := must(n.Client.HTTPClient(false, 0))(n.t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds)*time.Second+20*time.Second)
	body, err := openBody(ctx, client, fmt.Sprintf("http://%s/slow?bytes=%d&rate=%d", to, size, rate))
	if err != nil {
		cancel()
		n.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := testlab.VerifyBody(body, size)
		done <- errors.Join(err, body.Close())
	}()
	n.t.Cleanup(cancel)
	return func() error { defer cancel(); return <-done }
}

// dumps are the maps that a restart must leave as they are.
func (n *network) dumps() map[string]string {
	n.t.Helper()
	out := map[string]string{}
	for _, m := range []string{"vips", "services", "backends", "tables", "sources"} {
		out[m] = n.xlb("map", "dump", m, "--json")
	}
	return out
}

// TestCrash kills the daemon under load and starts it again: no request fails,
// a download goes on, and the next daemon takes over what it finds.
func TestCrash(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"native", "tc"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 2})
			web := service{name: "web", weights: []int{1, 2}, more: "probe: {type: http, path: /health, interval: 500ms}"}
			first := n.run(n.config("attach: "+mode, web))
			before := n.dumps()
			load := n.startLoad(web.frontend(n))
			download := n.slowDownload(web.frontend(n), 3)
			load.progress(20)

			first.crash()
			load.progress(100)
			if _, stderr, code := n.try("status"); code != 1 || stderr == "" {
				t.Errorf("status without a daemon: exit status %d, %q", code, stderr)
			}
			if flows := n.flows(); len(flows) < 100 {
				t.Errorf("%d flows while no daemon runs", len(flows))
			}
			if stats := decode[api.Stats](n, "stats"); n.counter(stats.Reasons, "redirect") == 0 {
				t.Errorf("no packets counted while no daemon runs: %+v", stats.Reasons)
			}

			second := n.start()
			s := decode[api.Status](n, "status")
			if !s.Adopted || s.PID != second.Pid() || s.Interfaces[0].Mode != mode {
				t.Errorf("after the crash: adopted %v, process %d, interfaces %+v", s.Adopted, s.PID, s.Interfaces)
			}
			load.progress(100)
			second.stop()
			load.progress(50)
			third := n.start()
			load.progress(50)
			load.finish()
			if err := download(); err != nil {
				t.Errorf("the download: %v", err)
			}
			after := n.dumps()
			for name, was := range before {
				if after[name] != was {
					t.Errorf("map %s was %s\nnow it is %s", name, was, after[name])
				}
			}
			for _, d := range []*daemon{second, third} {
				if strings.Contains(d.logged(), "wrote the maps") {
					t.Error("a daemon that adopted rewrote the maps")
				}
			}
		})
	}
}

// TestTwoDaemons: what one daemon owns another is refused.
func TestTwoDaemons(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.OneArm, Backends: 1})
	web := service{name: "web", weights: []int{1}, more: "probe: none"}
	d := n.run(n.config("attach: tc", web))
	pid := fmt.Sprintf("process %d", d.Pid())
	for _, args := range [][]string{
		{"run", "--socket", n.dir + "/other"},
		{"detach"},
	} {
		_, stderr, code := n.try(args...)
		if code != 1 || !strings.Contains(stderr, n.pins) || !strings.Contains(stderr, pid) {
			t.Errorf("xlb %v beside a daemon: exit status %d, %q, want 1 and %s named", args, code, stderr, pid)
		}
	}
	// With pins of its own it must not get in front of the first one's program.
	other := n.pins + "-other"
	_, stderr, code := n.try("run", "--pin-dir", other)
	if code != 1 || !strings.Contains(stderr, n.socket()) || !strings.Contains(stderr, pid) {
		t.Errorf("a second daemon on the socket: exit status %d, %q, want 1 and %s named", code, stderr, pid)
	}
	if _, err := os.Stat(other); !os.IsNotExist(err) {
		t.Errorf("the refused daemon left its pins: %v", err)
		n.try("detach", "--pin-dir", other)
	}
	if s := decode[api.Status](n, "status"); s.PID != d.Pid() || !s.Ready {
		t.Errorf("the first daemon: %+v", s)
	}
	if _, err := n.get(web.frontend(n), 5*time.Second); err != nil {
		t.Error(err)
	}
}

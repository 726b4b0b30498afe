package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/internal/testlab/servers"
	"github.com/xlb-io/xlb/pkg/api"
)

// TestGuideWebTier follows the guide to a web tier with real nginx servers, under a
// load of which no request may fail.
func TestGuideWebTier(t *testing.T) {
	t.Parallel()
	needs(t, "nginx", "curl")
	w := newWebTier(t)
	g := w.guide
	w.write("table_size: 1009\n" + g.block("yaml", 0))
	shown := g.steps(0)
	for i := range w.Backends {
		w.await(i, "healthy at full weight", func(b api.Backend) bool { return b.State == api.StateHealthy && b.EffectiveWeight == b.Weight })
	}
	if !strings.Contains(shown, "slow start") || !strings.Contains(shown, "www.example.com") && !strings.Contains(shown, "http") {
		t.Errorf("the service is shown as\n%s", shown)
	}
	for i, want := range []int{404, 404, 202} { // of 1009 slots, within a hundredth
		if got := w.backend(i).Slots; got < want-10 || got > want+10 {
			t.Errorf("backend %d has %d of 1009 slots, want some %d", i+1, got, want)
		}
	}
	w.load()
	g.steps(1)
	if b := w.backend(2); b.Weight != 1 || b.Override {
		t.Errorf("its weight is reset: %+v", b)
	}
	g.steps(2)
	w.await(2, "it has all of its weight again", func(b api.Backend) bool { return b.EffectiveWeight == b.Weight })

	w.deploy()
	if text := g.see(); strings.TrimSpace(text) != "100 version 2" {
		t.Errorf("after the deploy the guide's client counts %s", text)
	}
	w.failedDeploy()
	answers := w.ends()
	if len(answers) != 2 || answers["version 1"] == 0 || answers["version 2"] == 0 {
		t.Errorf("answers under load: %v", answers)
	}
	t.Logf("answers under load: %v", answers)
}

// webTier is a network with an nginx on each backend.
type webTier struct {
	*network
	guide guide
	vip   netip.AddrPort
	nginx []*servers.Server
	// broken is a backend on which nginx does not start again; -1 is none.
	broken int
	// ends stops the load and returns how often there was each answer.
	ends func() map[string]int
}

func newWebTier(t *testing.T) *webTier {
	w := &webTier{network: newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 3}), broken: -1}
	w.patience = 60 * time.Second
	w.vip = netip.AddrPortFrom(w.VIP4, 80)
	w.guide = w.network.guide("web-tier.md")
	w.run(fmt.Sprintf("interfaces: [%s]\ntable_size: 1009\nservices: {}\n", strings.Join(w.Interfaces, ", ")))
	w.remoteShell()
	for _, b := range w.Backends {
		root := w.rootOf(b.IP4)
		if err := os.MkdirAll(root, 0o700); err != nil {
			t.Fatal(err)
		}
		conf := strings.ReplaceAll(w.guide.block("nginx", 0), "/srv/www", root)
		w.nginx = append(w.nginx, must(servers.StartNginx(b.Namespace, 80, conf))(t))
		command := strings.ReplaceAll(w.guide.block("sh server", 0), "'", `'\''`)
		if out, stderr, err := w.guide.run(w.Balancer, fmt.Sprintf("ssh %s '%s'", b.IP4, command)); err != nil {
			t.Fatalf("the guide's commands for a server: %v\n%s%s", err, out, stderr)
		}
	}
	return w
}

func (w *webTier) rootOf(server netip.Addr) string {
	return filepath.Join(w.dir, "www", server.String())
}

// remoteShell makes an ssh that runs commands for a server with its own /srv/www, and
// a systemctl in it that asks the test to restart its nginx.
func (w *webTier) remoteShell() {
	ask, answer := filepath.Join(w.dir, "ask"), filepath.Join(w.dir, "answer")
	if err := errors.Join(unix.Mkfifo(ask, 0o600), unix.Mkfifo(answer, 0o600)); err != nil {
		w.t.Fatal(err)
	}
	w.guide.program("ssh", fmt.Sprintf("#!/bin/bash\nexport SERVER=$1\nexec bash -euc \"${2//\\/srv\\/www/%s/$1}\"\n", filepath.Join(w.dir, "www")))
	w.guide.program("systemctl", fmt.Sprintf("#!/bin/bash\necho \"$SERVER $*\" > %s\nread -r status < %s\nexit \"$status\"\n", ask, answer))
	// Both ends are held open, so that no open waits.
	questions, err1 := os.OpenFile(ask, os.O_RDWR|unix.O_NONBLOCK, 0)
	answers, err2 := os.OpenFile(answer, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err := errors.Join(err1, err2); err != nil {
		w.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			line := make([]byte, 4096)
			n, err := questions.Read(line)
			if err != nil {
				return
			}
			status := 0
			if err := w.restart(strings.TrimSpace(string(line[:n]))); err != nil {
				w.t.Error(err)
				status = 1
			}
			fmt.Fprintln(answers, status)
		}
	})
	w.t.Cleanup(func() {
		questions.Close()
		wg.Wait()
		answers.Close()
	})
}

// restart does "ADDRESS restart nginx".
func (w *webTier) restart(command string) error {
	for i, b := range w.Backends {
		if command != b.IP4.String()+" restart nginx" {
			continue
		}
		err := w.nginx[i].Stop()
		if i != w.broken && err == nil {
			err = w.nginx[i].Start()
		}
		return err
	}
	return fmt.Errorf("systemctl was asked: %s", command)
}

// load asks the VIP again and again, on a connection for each request. Each request
// that fails is an error of the test.
func (w *webTier) load() {
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		answers = map[string]int{}
	)
	ctx, cancel := context.WithCancel(context.Background())
	w.t.Cleanup(func() { w.ends() })
	for range 4 {
		client := must(w.Client.HTTPClient(false, 20*time.Second))(w.t)
		wg.Go(func() {
			for ctx.Err() == nil {
				text, err := w.request(client)
				mu.Lock()
				answers[text]++
				mu.Unlock()
				if err != nil {
					w.t.Errorf("under load at %s: %v", time.Now().Format(time.TimeOnly), err)
				}
				select {
				case <-ctx.Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
	}
	w.ends = func() map[string]int {
		cancel()
		wg.Wait()
		return answers
	}
}

// request asks for the page of the guide's site.
func (w *webTier) request(client *http.Client) (string, error) {
	r, err := http.NewRequest(http.MethodGet, "http://"+w.vip.String()+"/", nil)
	if err != nil {
		return "", err
	}
	r.Host = "www.example.com"
	response, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return strings.TrimSpace(string(body)), err
}

// deploy runs the guide's loop. A request that is half sent when its server begins to
// drain holds the loop up, and is answered by the old version.
func (w *webTier) deploy() {
	t := w.t
	slow := must(w.Client.Dial(t.Context(), "tcp", w.vip.String()))(t)
	defer slow.Close()
	must(io.WriteString(slow, "GET / HTTP/1.0\r\nHost: www.exam"))(t)
	holds := -1
	w.eventually("the flow of the slow request", func() string {
		for _, f := range must(w.pollFlows(api.FlowFilter{Client: w.Client4.String()}))(t) {
			for i, b := range w.Backends {
				if f.Client.String() == slow.LocalAddr().String() && f.Backend.Addr() == b.IP4 {
					holds = i
					return ""
				}
			}
		}
		return "none"
	})
	type outcome struct {
		out, stderr string
		err         error
	}
	loop := make(chan outcome, 1)
	go func() {
		out, stderr, err := w.guide.run(w.Balancer, w.guide.block("sh root", 3))
		loop <- outcome{out, stderr, err}
	}()
	w.await(holds, "its server drains", func(b api.Backend) bool { return b.State == api.StateDraining })
	select {
	case o := <-loop:
		t.Fatalf("the loop did not wait for a connection: %v\n%s%s", o.err, o.out, o.stderr)
	case <-time.After(2 * time.Second):
	}
	if text := string(must(os.ReadFile(filepath.Join(w.rootOf(w.Backends[holds].IP4), "index.html")))(t)); text != "version 1\n" {
		t.Errorf("a server with a connection was given %s", text)
	}
	must(io.WriteString(slow, "ple.com\r\n\r\n"))(t)
	if text := string(must(io.ReadAll(slow))(t)); !strings.HasSuffix(text, "\r\n\r\nversion 1\n") {
		t.Errorf("the slow request was answered by\n%s", text)
	}
	slow.Close() // until then it is half open, and the drain goes on
	o := <-loop
	if o.err != nil || o.stderr != "" {
		t.Fatalf("the guide's loop: %v\n%s%s", o.err, o.out, o.stderr)
	}
	for _, b := range w.Backends {
		address := netip.AddrPortFrom(b.IP4, 80)
		for _, said := range []string{"drained: its last flow has ended", "takes new flows again"} {
			if !strings.Contains(o.out, fmt.Sprintf("web %s: %s\n", address, said)) {
				t.Errorf("the loop does not say that %s %s:\n%s", address, said, o.out)
			}
		}
	}
}

// failedDeploy runs the loop again while the second server does not survive it: the
// loop ends there, and nobody is sent to that server until it is repaired.
func (w *webTier) failedDeploy() {
	t := w.t
	w.broken = 1
	out, stderr, err := w.guide.run(w.Balancer, strings.ReplaceAll(w.guide.block("sh root", 3), "--timeout 30s", "--timeout 3s"))
	if err == nil || !strings.Contains(stderr, "not within 3s: ") || !strings.Contains(stderr, "it was not undrained") {
		t.Errorf("the loop with a server that does not come back: %v\n%s%s", err, out, stderr)
	}
	if strings.Contains(out, w.Backends[2].IP4.String()) {
		t.Errorf("the loop went on:\n%s", out)
	}
	if b := w.backend(1); b.EffectiveWeight != 0 {
		t.Errorf("the broken server is used: %+v", b)
	}
	w.broken = -1
	if err := w.nginx[1].Start(); err != nil {
		t.Fatal(err)
	}
	w.xlb("backend", "undrain", "web", w.Backends[1].IP4.String(), "--wait")
	if b := w.backend(1); b.State != api.StateHealthy || b.EffectiveWeight == 0 {
		t.Errorf("the repaired server: %+v", b)
	}
}

// backend is the i-th backend of the guide's service.
func (w *webTier) backend(i int) api.Backend {
	w.t.Helper()
	for _, b := range w.detail("web").Backends {
		if b.Address.Addr() == w.Backends[i].IP4 {
			return b
		}
	}
	w.t.Fatalf("web has no backend %d", i+1)
	return api.Backend{}
}

func (w *webTier) await(i int, what string, ok func(api.Backend) bool) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("backend %d: %s", i+1, what), func() string {
		if b := w.backend(i); !ok(b) {
			return fmt.Sprintf("%+v", b)
		}
		return ""
	})
}

package testlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestHTTPServer(t *testing.T) {
	a, b := pair(t)
	web, err := b.StartHTTP(80)
	must(t, err)
	ctx := deadline(t)
	client, err := a.HTTPClient(true, 0)
	must(t, err)
	const base = "http://10.1.0.2"
	for range 3 {
		got, err := Get(ctx, client, base)
		if err != nil || got != "b" {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if web.Connections() != 1 || web.Open() != 1 || web.Requests() != 3 {
		t.Errorf("with keep-alive: %d connections, %d open, %d requests", web.Connections(), web.Open(), web.Requests())
	}
	if got, err := Get(ctx, client, base+"/health"); err != nil || got != "ok" {
		t.Errorf("health: %q, %v", got, err)
	}
	web.SetHealthy(false)
	if _, err := Get(ctx, client, base+"/health"); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("sick: %v", err)
	}
	if web.Probes() != 2 || web.Requests() != 3 {
		t.Errorf("%d probes, %d requests", web.Probes(), web.Requests())
	}
	for _, path := range []string{"/large?bytes=x", "/slow?rate=0", "/slow?bytes=-1"} {
		if _, err := Get(ctx, client, base+path); err == nil || !strings.Contains(err.Error(), "400") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := Get(ctx, client, base+"/nosuch"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("unknown path: %v", err)
	}
}

func fetch(t *testing.T, client *http.Client, url string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(deadline(t), http.MethodGet, url, nil)
	must(t, err)
	response, err := client.Do(request)
	must(t, err)
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func TestBodies(t *testing.T) {
	a, b := pair(t)
	web, err := b.StartHTTP(80)
	must(t, err)
	client, err := a.HTTPClient(false, 0)
	must(t, err)
	const base = "http://[fd01::2]"
	large := fetch(t, client, base+"/large?bytes=3000000")
	if n, err := VerifyBody(large.Body, 3000000); err != nil || n != 3000000 || large.Header.Get(BackendHeader) != "b" {
		t.Errorf("large body: %d bytes from %q, %v", n, large.Header.Get(BackendHeader), err)
	}
	start := time.Now()
	slow := fetch(t, client, base+"/slow?bytes=30000&rate=20000")
	if n, err := VerifyBody(slow.Body, 30000); err != nil || n != 30000 {
		t.Errorf("slow body: %d bytes, %v", n, err)
	}
	if took := time.Since(start); took < 290*time.Millisecond {
		t.Errorf("30000 bytes at 20000 a second took %s", took)
	}
	// A kill in the middle is an early end.
	slow = fetch(t, client, base+"/slow?bytes=200000&rate=20000")
	_, err = io.ReadFull(slow.Body, make([]byte, 1000))
	must(t, err)
	must(t, web.Stop())
	if _, err := io.Copy(io.Discard, slow.Body); err == nil {
		t.Error("a download outlived its server")
	}
}

func TestVerifyBody(t *testing.T) {
	const size = 200000
	right, err := io.ReadAll(io.LimitReader(&pattern{}, size))
	must(t, err)
	swapped := append(append(append([]byte(nil), right[:4096]...), right[8192:12288]...), right[8192:]...)
	for name, c := range map[string]struct {
		body string
		want string
	}{
		"right":   {string(right), ""},
		"short":   {string(right[:size-1]), "ends after 199999 of 200000"},
		"long":    {string(right) + string(right), "differs at byte"},
		"swapped": {string(swapped), "differs at byte 4096"},
		"doubled": {string(right[:65536]) + string(right[:size-65536]), "differs at byte 65536"},
	} {
		_, err := VerifyBody(strings.NewReader(c.body), size)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q, got %v", name, c.want, err)
		}
	}
}

// A stopped server is a closed port; restarted, it is the same server.
func TestStopAndRestart(t *testing.T) {
	a, b := pair(t)
	web, err := b.StartHTTP(80)
	must(t, err)
	tcp, err := b.StartTCPEcho(7)
	must(t, err)
	udp, err := b.StartUDPEcho(7)
	must(t, err)
	ctx := deadline(t)
	client, err := a.HTTPClient(false, 0)
	must(t, err)
	udpTo := netip.MustParseAddrPort("[fd01::2]:7")
	ask := func(tries int) (string, int, error) {
		return a.AskUDP(ctx, udpTo, []byte("q"), tries, 20*time.Millisecond)
	}
	for round := range 2 {
		held, err := a.HoldTCP(ctx, netip.MustParseAddrPort("10.1.0.2:7"), 3, 2)
		must(t, err)
		if _, err := Get(ctx, client, "http://10.1.0.2/"); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if name, _, err := a.AskUDP(ctx, udpTo, []byte("q"), 5, time.Second); err != nil || name != "b" {
			t.Errorf("round %d: %q, %v", round, name, err)
		}
		must(t, errors.Join(web.Stop(), tcp.Stop(), udp.Stop(), udp.Stop()))
		if _, err := Get(ctx, client, "http://10.1.0.2/"); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("stopped HTTP: %v", err)
		}
		if failed, err := held.Echo(ctx); failed != 3 || err == nil {
			t.Errorf("stopped TCP echo: %d failed, %v", failed, err)
		}
		held.Close()
		if _, sent, err := ask(2); !errors.Is(err, unix.ECONNREFUSED) || sent != 2 {
			t.Errorf("stopped UDP echo: %d sent, %v", sent, err)
		}
		must(t, errors.Join(web.Restart(), tcp.Restart(), udp.Restart()))
	}
	if web.Requests() != 2 || tcp.Connections() != 6 || udp.Requests() != 2 {
		t.Errorf("counted %d, %d, %d", web.Requests(), tcp.Connections(), udp.Requests())
	}
	if _, err := b.StartHTTP(80); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a second server on the port: %v", err)
	}
}

func TestHoldTCP(t *testing.T) {
	a, b := pair(t)
	echo, err := b.StartTCPEcho(7)
	must(t, err)
	ctx := deadline(t)
	held, err := a.HoldTCP(ctx, netip.MustParseAddrPort("[fd01::2]:7"), 500, 50)
	must(t, err)
	defer held.Close()
	if got := held.Backends(); held.Len() != 500 || got["b"] != 500 || echo.Connections() != 500 {
		t.Errorf("%d connections to %v, the server counts %d", held.Len(), got, echo.Connections())
	}
	for range 2 {
		if failed, err := held.Echo(ctx); failed != 0 || err != nil {
			t.Errorf("%d failed: %v", failed, err)
		}
	}
	if echo.Requests() != 1000 {
		t.Errorf("the server counts %d reads", echo.Requests())
	}
}

// A server in another process has the same words and dies with its process.
func TestEchoProcess(t *testing.T) {
	a, b := pair(t)
	ctx := deadline(t)
	echo, err := b.StartTCPEchoProcess(ctx, 7)
	must(t, err)
	held, err := a.HoldTCP(ctx, netip.MustParseAddrPort("10.1.0.2:7"), 2000, 64)
	must(t, err)
	defer held.Close()
	if failed, err := held.Echo(ctx); failed != 0 || held.Backends()["b"] != 2000 {
		t.Errorf("%d of %v failed: %v", failed, held.Backends(), err)
	}
	if _, err := b.StartTCPEchoProcess(ctx, 7); err == nil {
		t.Error("two servers on one port")
	}
	must(t, echo.Kill())
	if failed, _ := held.Echo(ctx); failed != 2000 {
		t.Errorf("%d connections of a killed server failed", failed)
	}
}

// An unanswered call must end with its context, and leave no thread behind.
func TestDialEnds(t *testing.T) {
	a, _ := pair(t)
	must(t, a.AddNeighbour("x0", netip.MustParseAddr("10.1.0.77"), []byte{2, 0, 0, 0, 0, 0x77}))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	const calls = 100
	results := make(chan error, calls)
	for range calls {
		go func() {
			_, err := a.Dial(ctx, "tcp", "10.1.0.77:80")
			results <- err
		}()
	}
	for range calls {
		if err := <-results; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("unanswered call: %v", err)
		}
	}
	if _, err := a.Dial(ctx, "tcp", "10.1.0.77:80"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ended context: %v", err)
	}
}

func TestDialFrom(t *testing.T) {
	a, b := pair(t)
	_, err := b.StartTCPEcho(7)
	must(t, err)
	must(t, a.AddAddresses("lo", netip.MustParsePrefix("10.9.0.1/32")))
	must(t, b.AddRoute(netip.MustParsePrefix("10.9.0.0/24"), netip.MustParseAddr("10.1.0.1")))
	ctx := deadline(t)
	to := netip.MustParseAddrPort("10.1.0.2:7")
	for _, from := range []string{"10.9.0.1:0", "10.9.0.1:12345"} {
		conn, err := a.DialFrom(ctx, "tcp4", netip.MustParseAddrPort(from), to)
		must(t, err)
		if got := conn.LocalAddr().String(); !strings.HasPrefix(got, strings.TrimSuffix(from, "0")) {
			t.Errorf("from %s: bound to %s", from, got)
		}
		_, err = io.ReadFull(conn, make([]byte, 2))
		must(t, err)
		conn.Close()
	}
	for name, call := range map[string]func() error{
		"name":    func() error { _, err := a.Dial(ctx, "tcp", "localhost:80"); return err },
		"network": func() error { _, err := a.Dial(ctx, "sctp", "10.1.0.2:7"); return err },
		"family":  func() error { _, err := a.DialFrom(ctx, "tcp", netip.MustParseAddrPort("[::1]:0"), to); return err },
		"address": func() error { _, err := a.DialFrom(ctx, "tcp", netip.MustParseAddrPort("1.2.3.4:0"), to); return err },
	} {
		if err := call(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The late answer to an earlier question is none to the present one.
func TestUDPFlowIgnoresLateAnswers(t *testing.T) {
	a, b := pair(t)
	conn, err := b.ListenPacket("udp4", ":7")
	must(t, err)
	defer conn.Close()
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, text := range []string{"b early", "b " + string(buf[:n])} {
				_, _ = conn.WriteTo([]byte(text), from)
			}
		}
	}()
	ctx := deadline(t)
	flow, err := a.UDPFlow(ctx, netip.MustParseAddrPort("10.1.0.2:7"))
	must(t, err)
	defer flow.Close()
	for i := range 3 {
		name, sent, err := flow.Ask(ctx, fmt.Appendf(nil, "question %d", i), 3, 5*time.Second)
		if err != nil || name != "b" || sent != 1 {
			t.Errorf("%q after %d, %v", name, sent, err)
		}
	}
}

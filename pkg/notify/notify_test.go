package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

var all = []model.HookEvent{model.HookHealthy, model.HookUnhealthy, model.HookRole}

// change is the i-th change of a service's backend.
func change(service string, event model.HookEvent, i int) Change {
	return Change{
		At: time.Unix(int64(i), 5).UTC(), Event: event, Service: service, Backend: netip.MustParseAddrPort("[2001:db8::1]:80"),
		From: "healthy", To: string(event), State: "unhealthy", Role: "replica", Reason: "connect: \"refused\"\nagain", Zone: "a", Critical: true, Usable: i, Backends: 9,
	}
}

func service(name string, hooks ...model.Hook) model.Service {
	return model.Service{Name: name, OnChange: hooks}
}

// shell is a hook that runs a script.
func shell(script string, args ...string) model.Hook {
	return model.Hook{Command: append([]string{"/bin/sh", "-c", script, "sh"}, args...), Events: all, Timeout: 10 * time.Second}
}

// notifier has no pause between repetitions.
func notifier(t *testing.T, o Options) *Notifier {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	n := New(o)
	n.web.pause = func(ctx context.Context, _ int) bool { return ctx.Err() == nil }
	t.Cleanup(n.Close)
	return n
}

func (n *Notifier) only(t *testing.T) Stats {
	t.Helper()
	s := n.Stats()
	if len(s) != 1 {
		t.Fatalf("stats %+v, want of one hook", s)
	}
	return s[0]
}

// TestCommand: a program gets each change it wants, in order, by its input, its
// environment and its arguments.
func TestCommand(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	n := notifier(t, Options{})
	h := shell(`cat >> "$1"; printf '%s|%s|%s|%s|%s|%s\n' "$XLB_EVENT" "$XLB_SERVICE" "$XLB_BACKEND" "$XLB_REASON" "$XLB_CRITICAL" "$XLB_USABLE" >> "$1"; pwd >> "$1"`, out)
	h.Events = []model.HookEvent{model.HookUnhealthy, model.HookRole}
	n.Apply([]model.Service{service("web", h), service("dns")})
	for i := range 20 {
		n.Tell(change("web", model.HookUnhealthy, i))
		n.Tell(change("web", model.HookHealthy, i)) // not wanted
		n.Tell(change("dns", model.HookUnhealthy, i))
	}
	n.Tell(change("web", model.HookRole, 20))
	eventually(t, "all are told", func() bool { return n.only(t).Told == 21 })
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i := range 21 {
		event := model.HookUnhealthy
		if i == 20 {
			event = model.HookRole
		}
		want := change("web", event, i)
		var got Change
		if err := json.Unmarshal([]byte(lines[4*i]), &got); err != nil {
			t.Fatal(err)
		}
		want.Version, want.Host = 1, got.Host
		if got != want {
			t.Errorf("told %+v, want %+v", got, want)
		}
		if env := lines[4*i+1] + "\n" + lines[4*i+2]; env != fmt.Sprintf("%s|web|[2001:db8::1]:80|connect: \"refused\"\nagain|true|%d", event, i) || lines[4*i+3] != "/" {
			t.Errorf("environment %q, directory %q", env, lines[4*i+3])
		}
	}
	if s := n.only(t); s.Name != "/bin/sh" || s.Failed+s.Dropped+s.Retried != 0 || s.Waiting != 0 || s.Error != "" {
		t.Errorf("stats %+v", s)
	}
}

// TestDocument pins the words of the contract.
func TestDocument(t *testing.T) {
	c := change("web", model.HookRole, 3)
	c.Version, c.Host = version, "lb1"
	text, err := c.document()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"version":1,"host":"lb1","at":"1970-01-01T00:00:03.000000005Z","event":"role","service":"web","backend":"[2001:db8::1]:80",` +
		`"from":"healthy","to":"role","state":"unhealthy","role":"replica","reason":"connect: \"refused\"\nagain","zone":"a","critical":true,"usable":3,"backends":9}` + "\n"
	if string(text) != want {
		t.Errorf("document\n%s want\n%s", text, want)
	}
}

// TestCommandFails: what it says is in the log and the statistics, and the next
// change is told all the same.
func TestCommandFails(t *testing.T) {
	var log testlab.Buffer
	n := notifier(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	n.Apply([]model.Service{service("web", shell(`test "$XLB_USABLE" = 1 || { echo no such pager >&2; exit 3; }`)),
		service("dns", model.Hook{Command: []string{"/nonexistent/program"}, Events: all, Timeout: time.Second})})
	n.Tell(change("web", model.HookUnhealthy, 0))
	n.Tell(change("dns", model.HookUnhealthy, 0))
	eventually(t, "both failed", func() bool { s := n.Stats(); return s[0].Failed == 1 && s[1].Failed == 1 })
	s := n.Stats()
	if s[0].Error != "exit status 3: no such pager" || !strings.Contains(s[1].Error, "no such file") {
		t.Errorf("stats %+v", s)
	}
	n.Tell(change("web", model.HookHealthy, 1))
	eventually(t, "the next one is told", func() bool { return n.Stats()[0].Told == 1 })
	if s := n.Stats()[0]; s.Error != "" {
		t.Errorf("stats %+v", s)
	}
	for _, want := range []string{`error="exit status 3: no such pager"`, "the hook works again", "hook=/nonexistent/program"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, log.String())
		}
	}
}

// alive says whether a process of that number is there and no zombie.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
}

// pids reads the numbers that a script wrote down.
func pids(path string, count int) (list []int) {
	text, _ := os.ReadFile(path)
	for _, word := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil {
			list = append(list, pid)
		}
	}
	if len(list) < count {
		return nil
	}
	return list
}

const hangs = `sleep 1000 & echo $$ $! >> "$1"; wait`

// TestCommandHangs: it is killed with what it started, when its time is over and
// when nobody wants it any more.
func TestCommandHangs(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*Notifier)
	}{
		{"timeout", func(*Notifier) {}},
		{"removed", func(n *Notifier) { n.Apply(nil) }},
		{"closed", (*Notifier).Close},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "pids")
			n := notifier(t, Options{})
			h := shell(hangs, path)
			if c.name == "timeout" {
				h.Timeout = 300 * time.Millisecond
			}
			n.Apply([]model.Service{service("web", h)})
			n.Tell(change("web", model.HookUnhealthy, 0))
			eventually(t, "it runs", func() bool { return pids(path, 2) != nil })
			c.end(n)
			list := pids(path, 2)
			eventually(t, "both are gone", func() bool { return !slices.ContainsFunc(list, alive) })
			eventually(t, "it is counted", func() bool { s := n.only(t); return s.Failed+s.Dropped == 1 && s.Waiting == 0 })
			if s := n.only(t); c.name == "timeout" && (s.Failed != 1 || s.Error != "killed after 300ms") {
				t.Errorf("stats %+v", s)
			}
			for _, pid := range list {
				_ = unix.Kill(pid, unix.SIGKILL) // of a test that failed
			}
		})
	}
}

// TestQueueIsBounded: who tells does not wait, the newest changes are told, and the
// lost ones are counted.
func TestQueueIsBounded(t *testing.T) {
	dir := t.TempDir()
	var log testlab.Buffer
	n := notifier(t, Options{Queue: 10, Log: slog.New(slog.NewTextHandler(&log, nil))})
	n.Apply([]model.Service{service("web", shell(`while ! test -e "$1/go"; do sleep 0.01; done; echo $XLB_USABLE >> "$1/out"`, dir))})
	n.Tell(change("web", model.HookUnhealthy, 0))
	for i := range 1000 {
		n.Tell(change("web", model.HookUnhealthy, i+1))
	}
	if s := n.only(t); s.Waiting != 11 || s.Dropped != 990 {
		t.Errorf("stats %+v", s)
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the rest is told", func() bool { return n.only(t).Told == 11 })
	text, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(string(text)), " "); got != "0 991 992 993 994 995 996 997 998 999 1000" {
		t.Errorf("told %s", got)
	}
	if got := strings.Count(log.String(), "were not told"); got != 1 {
		t.Errorf("%d lines about losses:\n%s", got, log.String())
	}
}

// server is a web server that notes what it is told.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	status []int // of the answers to come; then 204
	heard  []string
}

func newServer(t *testing.T, status ...int) *server {
	s := &server{status: status}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var c Change
		_ = json.Unmarshal(body, &c)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.heard = append(s.heard, fmt.Sprintf("%s %s %s %s %d", r.Method, r.URL.Path, r.Header.Get("Content-Type"), r.Header.Get("Authorization"), c.Usable))
		code := http.StatusNoContent
		if len(s.status) > 0 {
			code, s.status = s.status[0], s.status[1:]
		}
		w.Header().Set("Location", s.URL+"/elsewhere")
		w.WriteHeader(code)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.heard)
}

func webhook(url string, retries int) model.Hook {
	return model.Hook{Webhook: url + "/hook?secret=1", Headers: map[string]string{"Authorization": "Bearer x"}, Events: all, Timeout: 10 * time.Second, Retries: retries}
}

// TestWebhook: changes come in order, and those that failed for a while come again
// before the next.
func TestWebhook(t *testing.T) {
	s := newServer(t, 204, 500, 429, 200, 400, 302, 503, 503, 503)
	n := notifier(t, Options{})
	n.Apply([]model.Service{service("web", webhook(s.URL, 2))})
	for i := range 6 {
		n.Tell(change("web", model.HookUnhealthy, i))
	}
	eventually(t, "all are told or failed", func() bool { st := n.only(t); return st.Told+st.Failed == 6 })
	var got []string
	for _, line := range s.said() {
		number, ok := strings.CutPrefix(line, "POST /hook application/json Bearer x ")
		if !ok {
			t.Errorf("heard %q", line)
		}
		got = append(got, number)
	}
	if text := strings.Join(got, " "); text != "0 1 1 1 2 3 4 4 4 5" {
		t.Errorf("heard changes %s", text)
	}
	if st := n.only(t); st.Told != 3 || st.Failed != 3 || st.Retried != 4 || st.Error != "" || strings.Contains(st.Name, "secret") {
		t.Errorf("stats %+v", st)
	}
}

func TestWebhookFails(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then the end of the connection is seen
		<-r.Context().Done()
	}))
	defer silent.Close()
	refused := newServer(t)
	refused.Close()
	answers := newServer(t, 403)
	for _, c := range []struct{ url, want string }{
		{silent.URL, "no answer within 100ms"},
		{refused.URL, "connect: connection refused"},
		{answers.URL, "answered 403 Forbidden (not sent again)"},
	} {
		n := notifier(t, Options{})
		h := webhook(c.url, 1)
		if c.url == silent.URL {
			h.Timeout = 100 * time.Millisecond
		}
		n.Apply([]model.Service{service("web", h)})
		n.Tell(change("web", model.HookUnhealthy, 0))
		eventually(t, "it failed", func() bool { return n.only(t).Failed == 1 })
		st := n.only(t)
		if !strings.Contains(st.Error, c.want) || strings.Contains(st.Error, "secret") || st.Retried != map[bool]uint64{true: 0, false: 1}[c.url == answers.URL] {
			t.Errorf("%s: stats %+v", c.want, st)
		}
		n.Close()
	}
}

// TestPauseEnds: the wait before a repetition ends with the hook.
func TestPauseEnds(t *testing.T) {
	s := newServer(t, 500, 500)
	n := New(Options{Log: slog.New(slog.DiscardHandler)})
	n.Apply([]model.Service{service("web", webhook(s.URL, 9))})
	n.Tell(change("web", model.HookUnhealthy, 0))
	eventually(t, "it was refused once", func() bool { return len(s.said()) == 1 })
	began := time.Now()
	n.Close()
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("Close took %s", took)
	}
	n.Tell(change("web", model.HookUnhealthy, 1))
	n.Apply([]model.Service{service("web", webhook(s.URL, 9))})
	n.Close()
	if st := n.only(t); st.Dropped != 1 || st.Waiting != 0 {
		t.Errorf("stats %+v", st)
	}
}

// TestHooksAreShared: a hook of many services is one, with one queue, and survives a
// reload with what waits for it.
func TestHooksAreShared(t *testing.T) {
	dir := t.TempDir()
	n := notifier(t, Options{})
	h := shell(`while ! test -e "$1/go"; do sleep 0.01; done; echo $XLB_SERVICE >> "$1/out"`, dir)
	n.Apply([]model.Service{service("a", h, h), service("b", h)})
	n.Tell(change("a", model.HookUnhealthy, 0))
	n.Tell(change("b", model.HookUnhealthy, 0))
	n.Apply([]model.Service{service("b", h), service("c", h)})
	n.Tell(change("a", model.HookUnhealthy, 0)) // of nobody now
	n.Tell(change("c", model.HookUnhealthy, 0))
	if s := n.only(t); s.Waiting != 3 {
		t.Errorf("stats %+v", s)
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are told", func() bool { return n.only(t).Told == 3 })
	text, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil || string(text) != "a\nb\nc\n" {
		t.Errorf("told %q, %v", text, err)
	}
	n.Apply(nil)
	if s := n.only(t); s.Told != 3 { // what was counted stays
		t.Errorf("stats %+v", s)
	}
}

func TestPauses(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for n := 1; n < 200; n++ {
		if pause(ctx, n) {
			t.Errorf("pause %d did not end with its context", n)
		}
	}
}

package discovery

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/pkg/model"
)

// shell writes a shell script and returns its path.
func shell(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "list")
	must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755))
	return path
}

func execOf(interval, timeout time.Duration, command ...string) model.Source {
	return model.Source{Type: model.SourceExec, Exec: model.ExecSource{Command: command, Interval: interval, Timeout: timeout}}
}

// gone waits until no process is left whose command line holds text.
func gone(t *testing.T, text string) {
	t.Helper()
	eventually(t, func() error {
		names, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			return err
		}
		for _, n := range names {
			line, err := os.ReadFile(n)
			if err == nil && bytes.Contains(line, []byte(text)) {
				return fmt.Errorf("%s: %q is left behind", n, line)
			}
		}
		return nil
	})
}

func TestExec(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "answer")
	status := filepath.Join(dir, "status")
	write(t, list, `["10.0.0.1", {"address": "10.0.0.2", "weight": 7}]`)
	write(t, status, "0")
	program := shell(t, `echo "args $* source $XLB_SOURCE" > `+dir+`/seen
cat "$1"
echo "cannot   reach
the inventory" >&2
exit $(cat `+status+`)
`)
	l := newLive(t, execOf(20*time.Millisecond, 10*time.Second, program, list, "two words"))
	l.until("10.0.0.1:8080=1 10.0.0.2:8080=7", "")
	seen, err := os.ReadFile(filepath.Join(dir, "seen"))
	must(t, err)
	same(t, "arguments", string(seen), "args "+list+" two words source s\n")
	write(t, list, `[`)
	l.until("10.0.0.1:8080=1 10.0.0.2:8080=7", "standard output:1: the document ends in the middle")
	write(t, list, `["10.0.0.3"]`)
	l.until("10.0.0.3:8080=1", "")
	write(t, status, "3")
	l.until("10.0.0.3:8080=1", "exit status 3: cannot reach the inventory")
	write(t, status, "0")
	l.until("10.0.0.3:8080=1", "")
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	l.until("10.0.0.3:8080=1", "no such file")
}

func TestExecTimeout(t *testing.T) {
	mark := "xlb-test-" + strconv.Itoa(os.Getpid())
	for name, text := range map[string]string{
		"waits":           "echo started >&2\nsleep 1000 " + mark + "\n",
		"ignores SIGTERM": "trap '' TERM\necho started >&2\nwhile true; do sleep 0.05; done # " + mark + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			// sleep refuses a word that is no number, so the mark is an argument of the shell.
			program := shell(t, strings.ReplaceAll(text, "1000 "+mark, "1000"))
			begin := time.Now()
			err := newExec(execOf(time.Hour, 200*time.Millisecond, program, mark)).Run(t.Context(), func([]model.Backend, ...string) { t.Error("an answer") })
			if err == nil || err.Error() != "still running after 200ms, so it was killed: started" {
				t.Error(err)
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
			gone(t, mark)
		})
	}
}

// TestExecLeavesNothing: what a program started and left is ended with it.
func TestExecLeavesNothing(t *testing.T) {
	mark := "987654." + strconv.Itoa(os.Getpid())
	program := shell(t, "sleep "+mark+" &\n(sleep "+mark+" >/dev/null 2>&1 </dev/null &)\necho '[\"10.0.0.1\"]'\n")
	l := newLive(t, execOf(time.Hour, 10*time.Second, program))
	l.until("10.0.0.1:8080=1", "")
	gone(t, mark)
}

// TestExecEscaped: one that left the process group lives on, but holds nobody
// up.
func TestExecEscaped(t *testing.T) {
	dir := t.TempDir()
	program := shell(t, "setsid sh -c 'echo $$ > "+dir+"/pid; exec sleep 600' &\nwhile ! [ -s "+dir+"/pid ]; do sleep 0.01; done\necho '[\"10.0.0.1\"]'\n")
	begin := time.Now()
	err := newExec(execOf(time.Hour, 30*time.Second, program)).Run(t.Context(), func([]model.Backend, ...string) {})
	if err == nil || !strings.Contains(err.Error(), "somebody it started holds its output") {
		t.Error(err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	must(t, unix.Kill(pid, unix.SIGKILL))
}

func TestExecTooMuch(t *testing.T) {
	for _, interval := range []time.Duration{0, time.Hour} {
		program := shell(t, "yes | tr -d '\\n'\n")
		err := newExec(execOf(interval, time.Minute, program)).Run(t.Context(), func([]model.Backend, ...string) { t.Error("an answer") })
		if err == nil || err.Error() != "the document is larger than 16 MiB" {
			t.Errorf("interval %s: %v", interval, err)
		}
		gone(t, program)
	}
}

func TestExecKeepRunning(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "lines")
	must(t, unix.Mkfifo(fifo, 0o600))
	program := shell(t, "echo run >> "+dir+"/runs\nexec cat <> "+fifo+"\n")
	lines, err := os.OpenFile(fifo, os.O_RDWR, 0)
	must(t, err)
	defer lines.Close()
	say := func(text string) {
		t.Helper()
		_, err := lines.WriteString(text)
		must(t, err)
	}
	l := newLive(t, execOf(0, 0, program))
	say("[\"10.0.0.1\"]\n")
	l.until("10.0.0.1:8080=1", "")
	say("\n{\"backends\": [\"10.0.0.1\", \"10.0.0.2\"]}\n")
	l.until("10.0.0.1:8080=1 10.0.0.2:8080=1", "")
	say("[\"10.0.0.9\"") // not yet a line
	say("]\n")
	l.until("10.0.0.9:8080=1", "")
	say("oops\n")
	l.until("10.0.0.9:8080=1", "line 5 of standard output:1: not JSON")
	say("[\"10.0.0.4\"]\n") // it was started again
	l.until("10.0.0.4:8080=1", "")
	runs, err := os.ReadFile(filepath.Join(dir, "runs"))
	must(t, err)
	if n := strings.Count(string(runs), "run"); n != 2 {
		t.Errorf("%d runs, want 2", n)
	}
	l.Close()
	gone(t, program)
}

func TestExecKeepRunningEnds(t *testing.T) {
	answers := 0
	err := newExec(execOf(0, 0, shell(t, "echo '[\"10.0.0.1\"]'\n"))).Run(t.Context(), func([]model.Backend, ...string) { answers++ })
	if err == nil || err.Error() != "the program ended, but it should keep running" || answers != 1 {
		t.Errorf("%d answers, %v", answers, err)
	}
	err = newExec(execOf(0, 0, shell(t, "echo no database >&2; kill -9 $$\n"))).Run(t.Context(), func([]model.Backend, ...string) {})
	if err == nil || err.Error() != "signal: killed: no database" {
		t.Error(err)
	}
}

// TestExecStops: the end of the source is the end of the program, politely.
func TestExecStops(t *testing.T) {
	dir := t.TempDir()
	program := shell(t, "trap 'echo bye > "+dir+"/bye; exit' TERM\necho '[]'\nwhile true; do sleep 0.05; done\n")
	ctx, cancel := context.WithCancel(t.Context())
	_ = newExec(execOf(0, 0, program)).Run(ctx, func([]model.Backend, ...string) { cancel() })
	if _, err := os.Stat(filepath.Join(dir, "bye")); err != nil {
		t.Error("it was not asked to end:", err)
	}
	gone(t, program)
}

// TestExecPage runs the script that docs/discovery.md shows.
func TestExecPage(t *testing.T) {
	for _, tool := range []string{"curl", "jq"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	page, err := os.ReadFile("../../docs/discovery.md")
	must(t, err)
	_, text, found := strings.Cut(string(page), "```sh\n#!/bin/sh\n")
	if !found {
		t.Fatal("the page shows no script")
	}
	text, _, _ = strings.Cut(text, "```")
	var answers atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answers.Load() {
			fmt.Fprint(w, `{"hosts": [{"ip": "10.0.0.1", "cores": 8, "rack": "r1", "enabled": true}, {"ip": "10.0.0.2", "enabled": false}]}`)
			return
		}
		http.Error(w, "", http.StatusServiceUnavailable)
	}))
	defer server.Close()
	l := newLive(t, execOf(100*time.Millisecond, 10*time.Second, shell(t, strings.ReplaceAll(text, "http://inventory.example.com", server.URL))))
	l.until("", "exit status 22: curl: (22) The requested URL returned error: 503")
	answers.Store(true)
	l.until("10.0.0.1:8080=8", "")
}

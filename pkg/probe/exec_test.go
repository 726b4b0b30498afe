package probe

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/pkg/model"
)

func execTarget(command ...string) Target {
	tg := target("web", "192.0.2.1:80")
	tg.Probe.Type, tg.Probe.Command, tg.Probe.Timeout = model.ProbeExec, command, 10*time.Second
	return tg
}

func script(text string) Target { return execTarget("/bin/sh", "-c", text) }

func TestExec(t *testing.T) {
	noSocketLeft(t)
	for _, c := range []struct{ name, script, role, reason string }{
		{"passes", "exit 0", "", ""},
		{"role", "echo role=primary; echo more", "primary", ""},
		{"role with space", "echo 'role= replica '", "replica", ""},
		{"role of a failure", "echo role=replica; echo lagging >&2; exit 3", "replica", "exit status 3: lagging"},
		{"no role", "echo all is well; echo role=primary", "", ""},
		{"no valid role", "echo role=A/B", "", ""},
		{"fails", "exit 1", "", "exit status 1"},
		{"fails with a role alone", "echo role=replica; exit 1", "replica", "exit status 1"},
		{"says why", "echo disk full; exit 2", "", "exit status 2: disk full"},
		{"much output", "head -c 1000000 /dev/zero | tr '\\0' x; exit 1", "", "exit status 1: " + strings.Repeat("x", maxReason-15) + "…"},
		{"killed", "kill -9 $$", "", "signal: killed"},
		{"reads nothing", "cat; echo role=x", "x", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			role, err := newChecker(script(c.script).normal(), nil, nil).check(t.Context())
			reason := ""
			if err != nil {
				reason = err.Error()
			}
			if role != c.role || reason != c.reason {
				t.Errorf("role %q, reason %q; want %q, %q", role, reason, c.role, c.reason)
			}
		})
	}
}

func TestExecEnvironment(t *testing.T) {
	t.Setenv("XLB_SECRET", "of the daemon")
	out := filepath.Join(t.TempDir(), "env")
	tg := execTarget("/bin/sh", "-c", "env | grep ^XLB_ | sort >"+out+"; pwd >>"+out)
	tg.Probe.Port = 8080
	if reason := run(t, tg); reason != "" {
		t.Fatal(reason)
	}
	got, err := os.ReadFile(out)
	want := "XLB_ADDRESS=192.0.2.1\nXLB_BACKEND=192.0.2.1:80\nXLB_PORT=8080\nXLB_SERVICE=web\nXLB_TIMEOUT_MS=10000\n/\n"
	if err != nil || string(got) != want {
		t.Errorf("environment %q, %v; want %q", got, err, want)
	}
}

func TestExecNotThere(t *testing.T) {
	_, err := newChecker(execTarget("/no/such/program").normal(), nil, nil).check(t.Context())
	if want := "not probed: cannot run /no/such/program: no such file or directory"; !errors.Is(err, errLocal) || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
}

// A program that takes too long is killed with all that it started, and so is what
// one leaves behind.
func TestExecKillsGroup(t *testing.T) {
	for name, c := range map[string]struct{ script, reason string }{
		"timeout":     {"sleep 300 & echo $! >%; wait", "timeout after 500ms while the program runs"},
		"left behind": {"sleep 300 & echo $! >%", ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pid")
			tg := script(strings.ReplaceAll(c.script, "%", file))
			tg.Probe.Timeout = 500 * time.Millisecond
			start := time.Now()
			if got := run(t, tg); got != c.reason {
				t.Errorf("reason is %q, want %q", got, c.reason)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("the check took %s", took)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the end of its child", func() bool {
				state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
				return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) || strings.Contains(string(state), ") Z ")
			})
		})
	}
}

// A child that left the group keeps the output open, not the check.
func TestExecDaemon(t *testing.T) {
	if _, err := os.Stat("/usr/bin/setsid"); err != nil {
		t.Skip("needs setsid")
	}
	start := time.Now()
	if reason := run(t, script("setsid sleep 3 & echo role=x")); reason != "" {
		t.Error(reason)
	}
	if took := time.Since(start); took > 2500*time.Millisecond {
		t.Errorf("the check took %s", took)
	}
}

func TestExecCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	start := time.Now()
	if _, err := newChecker(script("sleep 300").normal(), nil, nil).check(ctx); err == nil {
		t.Error("a cancelled check passed")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the check took %s", took)
	}
}

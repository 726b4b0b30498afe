package program

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shell is a program that runs a script, of which $1 is a file.
func shell(t *testing.T, script string) (p Program, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "file")
	return Program{Command: []string{"/bin/sh", "-c", script, "sh", file}, Env: []string{"PATH=/usr/bin:/bin"}, Held: 10 * time.Second}, file
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// pid waits for the number that a script writes down.
func pid(t *testing.T, file string) (pid int) {
	t.Helper()
	eventually(t, "it writes its number", func() bool {
		text, _ := os.ReadFile(file)
		number, whole := strings.CutSuffix(string(text), "\n")
		pid, _ = strconv.Atoi(number)
		return whole && pid > 0
	})
	return pid
}

func alive(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(text), ") Z ")
}

func TestRun(t *testing.T) {
	p, _ := shell(t, `pwd; cat; echo "$XLB_X"; echo bad >&2; exit 3`)
	var out, complaint bytes.Buffer
	p.Env, p.Stdin, p.Stdout, p.Stderr = append(p.Env, "XLB_X=a b"), strings.NewReader("in\n"), &out, &complaint
	err := p.Run(t.Context())
	if failed, ok := errors.AsType[*exec.ExitError](err); !ok || failed.ExitCode() != 3 {
		t.Errorf("error %v", err)
	}
	if out.String() != "/\nin\na b\n" || complaint.String() != "bad\n" {
		t.Errorf("output %q and %q", &out, &complaint)
	}
	p.Command = []string{"/no/such/program"}
	if err := p.Run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a program that is not there: %v", err)
	}
}

// TestEnd: the whole group is asked first if there is a Grace, and killed in any
// case.
func TestEnd(t *testing.T) {
	const waits = `sleep 300 & echo $! >"$1"; `
	for name, c := range map[string]struct {
		script string
		grace  time.Duration
		polite bool
	}{
		"at once":  {waits + `trap 'echo bye' TERM; wait`, 0, false},
		"politely": {waits + `trap 'echo bye; exit' TERM; wait`, 10 * time.Second, true},
		"stubborn": {`trap '' TERM; ` + waits + `while :; do wait; done`, 50 * time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, file := shell(t, c.script)
			var out bytes.Buffer
			p.Grace, p.Stdout, p.Background = c.grace, &out, true
			why := errors.New("no longer wanted")
			ctx, cancel := context.WithCancelCause(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- p.Run(ctx) }()
			child := pid(t, file)
			cancel(why)
			select {
			case err := <-ended:
				if err != why {
					t.Errorf("error %v, want the cause", err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("it goes on")
			}
			if (out.String() == "bye\n") != c.polite {
				t.Errorf("it printed %q", &out)
			}
			eventually(t, "its child is gone", func() bool { return !alive(child) })
		})
	}
}

// TestLeft: what it leaves in its group is killed, or is let alone.
func TestLeft(t *testing.T) {
	p, file := shell(t, `sleep 300 >/dev/null 2>&1 </dev/null & echo $! >"$1"`)
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its child is gone", func() bool { return !alive(pid(t, file)) })
	p.Background = true
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	child := pid(t, file)
	if !alive(child) {
		t.Error("what is in the background was killed")
	}
	_ = unix.Kill(child, unix.SIGKILL)
}

// TestHeld: who left the group may hold the output, and holds nobody up.
func TestHeld(t *testing.T) {
	p, file := shell(t, `setsid sh -c 'echo $$ >"$1"; exec sleep 300' sh "$1" & while ! [ -s "$1" ]; do sleep 0.01; done; echo done`)
	var out bytes.Buffer
	p.Stdout, p.Held = &out, 50*time.Millisecond
	if err := p.Run(t.Context()); !errors.Is(err, ErrHeld) || out.String() != "done\n" {
		t.Errorf("error %v, output %q", err, &out)
	}
	_ = unix.Kill(pid(t, file), unix.SIGKILL)
}

// TestDiesWithUs is run again by itself as a process that is killed.
func TestDiesWithUs(t *testing.T) {
	const variable = "XLB_TEST_PROGRAM"
	if file := os.Getenv(variable); file != "" {
		_ = Program{Command: []string{"/bin/sh", "-c", `echo $$ >"$1"; exec sleep 300`, "sh", file}, Env: os.Environ()}.Run(context.Background())
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	daemon := exec.Command(self, "-test.run=^TestDiesWithUs$")
	daemon.Env = append(os.Environ(), variable+"="+file)
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	child := pid(t, file)
	if err := errors.Join(daemon.Process.Kill(), ignoreExit(daemon.Wait())); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its program is gone", func() bool { return !alive(child) })
}

func ignoreExit(err error) error {
	if _, exited := errors.AsType[*exec.ExitError](err); exited {
		return nil
	}
	return err
}

func TestTail(t *testing.T) {
	var tail Tail
	why := errors.New("exit status 1")
	if err := tail.Explain(why); err != why {
		t.Errorf("without words: %v", err)
	}
	for i := range 1000 {
		_, _ = tail.Write([]byte(strconv.Itoa(i) + "\n\t "))
	}
	_, _ = tail.Write([]byte("cannot   reach\nthe \xffinventory\n"))
	if err := tail.Explain(why); !errors.Is(err, why) || !strings.HasSuffix(err.Error(), "998 999 cannot reach the inventory") || len(err.Error()) > TailSize+20 {
		t.Errorf("explained as %v", err)
	}
	_, _ = tail.Write(bytes.Repeat([]byte("x"), 1<<20))
	if err := tail.Explain(why); err.Error() != "exit status 1: "+strings.Repeat("x", TailSize) {
		t.Errorf("explained as %v", err)
	}
	if err := tail.Explain(nil); err != nil {
		t.Errorf("nil is explained as %v", err)
	}
}

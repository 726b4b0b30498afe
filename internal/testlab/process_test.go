package testlab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestCommandRunsInside(t *testing.T) {
	l := newLab(t)
	n := newNamespaceIn(t, l, "one")
	var want string
	must(t, n.Do(func() error {
		want = networkOf(t, "/proc/thread-self/ns/net")
		return nil
	}))
	out, err := n.Command(t.Context(), "readlink", "/proc/self/ns/net").Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != want {
		t.Errorf("ran in %q, %v; want %q", got, err, want)
	}
	// The same mounts: BPF pins stay where they are.
	out, err = n.Command(t.Context(), "readlink", "/proc/self/ns/mnt").Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != networkOf(t, "/proc/self/ns/mnt") {
		t.Errorf("mounts %q, %v", got, err)
	}
	_, err = n.Command(t.Context(), "sh", "-c", "echo why >&2; exit 3").Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(err.Error(), "why") {
		t.Errorf("failed command: %v", err)
	}
	if err := n.Command(t.Context(), "/no/such/program").Start(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing program: %v", err)
	}
}

// family starts a shell with a child, both of which would sleep for long, and
// returns the ids of both.
func family(t *testing.T, n *Namespace, ctx context.Context, script string) (p *Process, pids []int) {
	t.Helper()
	p = n.Command(ctx, "sh", "-c", script)
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	p.Cmd.Stdout = w
	must(t, p.Start())
	w.Close()
	line, err := bufio.NewReader(r).ReadString('\n')
	must(t, err)
	for _, field := range strings.Fields(line) {
		pid, err := strconv.Atoi(field)
		must(t, err)
		pids = append(pids, pid)
	}
	if len(pids) != 2 || pids[0] != p.Pid() {
		t.Fatalf("process %d says %q", p.Pid(), line)
	}
	return p, pids
}

const sleepers = "sleep 300 & echo $$ $!; wait"

func gone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		waitFor(t, fmt.Sprintf("the end of process %d", pid), func() bool {
			state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			// An orphan may wait, dead, for a lazy init to reap it.
			return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) || strings.Contains(string(state), ") Z ")
		})
	}
}

func TestProcessesEnd(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *Lab, *Process, context.CancelFunc){
		"kill":   func(t *testing.T, _ *Lab, p *Process, _ context.CancelFunc) { must(t, p.Kill()) },
		"close":  func(t *testing.T, l *Lab, _ *Process, _ context.CancelFunc) { must(t, l.Close()) },
		"cancel": func(_ *testing.T, _ *Lab, _ *Process, cancel context.CancelFunc) { cancel() },
		"stop": func(t *testing.T, _ *Lab, p *Process, _ context.CancelFunc) {
			if err := p.Stop(10 * time.Second); err == nil || !strings.Contains(err.Error(), "terminated") {
				t.Errorf("stopped with %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			n := newNamespaceIn(t, l, "one")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p, pids := family(t, n, ctx, sleepers)
			end(t, l, p, cancel)
			select {
			case <-p.Done():
			case <-time.After(10 * time.Second):
				t.Fatal("the process does not end")
			}
			if p.Wait() == nil {
				t.Error("a killed process ended well")
			}
			gone(t, pids)
			if err := p.Kill(); err != nil {
				t.Errorf("kill again: %v", err)
			}
		})
	}
}

func TestStopKillsTheStubborn(t *testing.T) {
	l := newLab(t)
	n := newNamespaceIn(t, l, "one")
	p, pids := family(t, n, t.Context(), `trap "" TERM; sleep 300 & echo $$ $!; while :; do wait; done`)
	if err := p.Stop(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("stopped with %v", err)
	}
	gone(t, pids)
	if err := p.Start(); err == nil {
		t.Error("a process was started twice")
	}
}

// victimVariable makes the test binary the process that TestKilledLab kills.
const victimVariable = "XLB_TESTLAB_VICTIM"

// A process that is killed leaves neither children nor, after a sweep,
// namespaces.
func TestKilledLab(t *testing.T) {
	l := newLab(t)
	n := newNamespaceIn(t, l, "outer")
	self, err := os.Executable()
	must(t, err)
	victim := n.Command(t.Context(), self)
	victim.Cmd.Env = append(os.Environ(), victimVariable+"=1")
	victim.Cmd.Stderr = os.Stderr
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	victim.Cmd.Stdout = w
	must(t, victim.Start())
	w.Close()
	var child int
	var space string
	_, err = fmt.Fscanf(r, "%d %s\n", &child, &space)
	must(t, err)
	must(t, victim.Signal(unix.SIGKILL))
	<-victim.Done()
	gone(t, []int{child})
	_, err = Sweep()
	must(t, err)
	if _, err := os.Lstat(filepath.Join(netnsDir, space)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", space, err)
	}
}

// playVictim starts a child, which is in a process group of its own, says its
// id and the namespace's name, and waits to be killed.
func playVictim() error {
	l, err := New("victim")
	if err != nil {
		return err
	}
	n, err := l.Namespace("inner")
	if err != nil {
		return err
	}
	p := n.Command(context.Background(), "sleep", "300")
	if err := p.Start(); err != nil {
		return err
	}
	fmt.Printf("%d %s\n", p.Pid(), n.FullName)
	return p.Wait()
}

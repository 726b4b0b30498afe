package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/pkg/model"
)

// execCheck passes if the operator's program ends by exit status 0. The first line
// that it writes may be role=NAME. The program is told by its environment what to
// check, and sees no more of ours than PATH.
type execCheck struct {
	connector
	command []string
	env     []string
}

func newExecCheck(c connector, t Target) checker {
	if len(t.Probe.Command) == 0 {
		return failing{errors.New("no command to run")}
	}
	return execCheck{c, t.Probe.Command, []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"XLB_SERVICE=" + t.Service, "XLB_BACKEND=" + t.Backend.String(),
		"XLB_ADDRESS=" + plain(c.addr.Addr()), "XLB_PORT=" + strconv.Itoa(int(c.addr.Port())),
		"XLB_TIMEOUT_MS=" + strconv.FormatInt(t.Probe.Timeout.Milliseconds(), 10),
	}}
}

// maxOutput is how much of a program's output is kept.
const maxOutput = 4 << 10

func (c execCheck) check(ctx context.Context) (role string, err error) {
	// The kernel sends the death signal when the *thread* that started the program
	// ends. So this one, which waits anyway, is kept until the program is gone.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var out, complaint head
	cmd := exec.Command(c.command[0], c.command[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = c.env, "/", &out, &complaint
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// A child that left the group may hold the output open for ever.
	cmd.WaitDelay = 100 * time.Millisecond
	if err := cmd.Start(); err != nil {
		return "", notStarted(err)
	}
	err = waitGroup(ctx, cmd)
	switch {
	case ctx.Err() != nil:
		return "", c.reason(ctx, phaseProgram, ctx.Err())
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return roleLine(out.first()), nil
	}
	text := complaint.first()
	if text == "" {
		text = out.first()
	}
	if _, isRole := strings.CutPrefix(text, "role="); text == "" || isRole {
		return roleLine(out.first()), errors.New(shorten(err.Error()))
	}
	return roleLine(out.first()), errors.New(shorten(err.Error() + ": " + text))
}

// notStarted: a program that is not there, or no room for it, says nothing of any
// backend.
func notStarted(err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return fmt.Errorf("%w: cannot run %s: %w", errLocal, path.Path, path.Err)
	}
	return fmt.Errorf("%w: %w", errLocal, err)
}

// waitGroup waits for cmd, kills its process group when ctx ends, and what is left
// of it when cmd does.
func waitGroup(ctx context.Context, cmd *exec.Cmd) error {
	pid := cmd.Process.Pid
	var mu sync.Mutex
	alive := true
	kill := func() {
		mu.Lock()
		defer mu.Unlock()
		if alive {
			_ = unix.Kill(-pid, unix.SIGKILL) // the group is gone already
		}
	}
	stop := context.AfterFunc(ctx, kill)
	defer stop()
	// Look without reaping: the id, and the group's, stay ours meanwhile.
	for {
		if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	kill()
	mu.Lock()
	alive = false
	mu.Unlock()
	return cmd.Wait()
}

// roleLine is what a line role=NAME names; "" otherwise.
func roleLine(line string) string {
	name, ok := strings.CutPrefix(line, "role=")
	if !ok {
		return ""
	}
	name = strings.TrimSpace(name)
	if !model.ValidRole(name) {
		return ""
	}
	return name
}

// head keeps the first maxOutput bytes that are written to it.
type head struct{ text []byte }

func (h *head) Write(p []byte) (int, error) {
	h.text = append(h.text, p[:min(len(p), maxOutput-len(h.text))]...)
	return len(p), nil
}

func (h *head) first() string {
	line, _, _ := bytes.Cut(h.text, []byte("\n"))
	return string(bytes.TrimSpace(line))
}

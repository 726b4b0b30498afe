// Package program runs programs of the operator's: one that lists backends, checks
// one, or is told of a change.
package program

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Program is what is run, in the directory / and without a shell. It leads a
// process group of its own.
type Program struct {
	// Command is a path with a slash, and arguments.
	Command []string
	// Env is the whole environment.
	Env []string
	// Stdin is what it reads; nothing if nil.
	Stdin io.Reader
	// Stdout and Stderr take what it writes; if they are the same, from one
	// goroutine. nil takes nothing.
	Stdout, Stderr io.Writer
	// Grace is how long its group has between SIGTERM and SIGKILL when it is
	// ended; 0 is SIGKILL at once.
	Grace time.Duration
	// Held is how long after its end somebody else may hold its output open.
	Held time.Duration
	// Background lets those of its group live on that are left when it ends by
	// itself.
	Background bool
}

// ErrHeld is the error of a program that ended well, while somebody held its
// output open for longer than Held: one that left the group, or the background.
var ErrHeld = exec.ErrWaitDelay

// Run runs the program to its end. When ctx ends, the whole group is ended; and
// when this process is killed, the kernel kills the program.
//
// The error is the cause of ctx if that has ended, an [exec.ExitError] or ErrHeld,
// or why the program could not be started. When Run returns nobody writes to Stdout
// and Stderr any more.
func (p Program) Run(ctx context.Context) error {
	// The kernel sends the death signal when the *thread* that started the
	// program ends. So this one, which waits anyway, is kept until then.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(p.Command[0], p.Command[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = "/", p.Env, p.Stdin, p.Stdout, p.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = p.Held
	if err := cmd.Start(); err != nil {
		return err
	}
	group := cmd.Process.Pid
	ended, quiet := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(quiet)
		endGroup(ctx, group, p.Grace, ended)
	}()
	awaitEnd(group)
	close(ended)
	<-quiet
	// It is not reaped yet, so its number is still its group's, and nobody else's.
	if !p.Background || ctx.Err() != nil {
		_ = unix.Kill(-group, unix.SIGKILL) // nobody may be left
	}
	err := cmd.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// awaitEnd waits until a child has ended, and does not reap it.
func awaitEnd(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// endGroup ends a process group when ctx ends, unless its leader has ended.
func endGroup(ctx context.Context, group int, grace time.Duration, ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	if grace > 0 {
		_ = unix.Kill(-group, unix.SIGTERM)
		select {
		case <-ended:
			return
		case <-time.After(grace):
		}
	}
	_ = unix.Kill(-group, unix.SIGKILL)
}

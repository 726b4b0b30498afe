package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

const (
	// programGrace is how long a program has between SIGTERM and SIGKILL.
	programGrace = 500 * time.Millisecond
	// silentGrace is how long a program may go on that has closed its standard
	// output: it cannot say anything any more.
	silentGrace = 10 * time.Second
)

// runProgram runs command, a path and arguments, without a shell and in a
// process group of its own, and gives its standard output to read, which reads
// to the end or returns an error. When ctx ends, and when read fails, the whole
// group is ended. Whoever of the group is left when the program has ended is
// killed, so nothing stays behind.
//
// The error is that of read, or the cause of ctx, or how the program ended, with
// the end of what it wrote to standard error.
func runProgram(ctx context.Context, command, environment []string, read func(stdout io.Reader) error) error {
	// The kernel kills the program when the thread that started it ends, which
	// is when the daemon is killed as long as the thread lasts until then.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	stderr := &tail{}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), environment...)
	cmd.Stdout, cmd.Stderr = in, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second // for one that left the group and holds standard error
	err = cmd.Start()
	in.Close()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		awaitEnd(cmd.Process.Pid)
		// The program is not reaped yet, so its number is still its group's.
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		// One that left the group may hold standard output open.
		_ = out.SetReadDeadline(time.Now().Add(time.Second))
	}()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		endGroup(ctx, cmd.Process.Pid, ended)
	}()

	readErr := read(out)
	if readErr != nil {
		cancel(readErr)
	}
	select {
	case <-ended:
	case <-time.After(silentGrace):
		cancel(errors.New("the program closed its standard output and went on"))
		<-ended
	}
	cause := context.Cause(ctx)
	cancel(nil)
	<-stopped
	exitErr := cmd.Wait()
	switch {
	case errors.Is(readErr, os.ErrDeadlineExceeded) && errors.Is(cause, readErr):
		return stderr.explain(errors.New("the program ended, but somebody it started holds its standard output"))
	case cause != nil: // of the caller, or that of read
		return stderr.explain(cause)
	case exitErr != nil:
		return stderr.explain(exitErr)
	}
	return nil
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
func endGroup(ctx context.Context, group int, ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	_ = unix.Kill(-group, unix.SIGTERM)
	select {
	case <-ended:
	case <-time.After(programGrace):
		_ = unix.Kill(-group, unix.SIGKILL)
	}
}

// tail keeps the end of what is written to it.
type tail struct{ data []byte }

const tailSize = 512

func (t *tail) Write(b []byte) (int, error) {
	t.data = append(t.data, b...)
	if len(t.data) > 2*tailSize {
		t.data = append(t.data[:0], t.data[len(t.data)-tailSize:]...)
	}
	return len(b), nil
}

// explain adds the end of standard error to err, in one line.
func (t *tail) explain(err error) error {
	text := string(t.data[max(0, len(t.data)-tailSize):])
	text = strings.ToValidUTF8(text, "")
	words := strings.FieldsFunc(text, func(r rune) bool { return unicode.IsControl(r) || r == ' ' })
	if len(words) == 0 {
		return err
	}
	return fmt.Errorf("%w: %s", err, strings.Join(words, " "))
}

package testlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a program that runs inside a namespace. Unlike under
// `ip netns exec` its file system is the caller's, so it sees the same
// /sys/fs/bpf (and, under /sys/class/net, not its own links). It leads a process group of its own, which is killed as a whole
// when the program ends, when its context is done, or when the lab closes; and
// the kernel kills the program should this process die first.
type Process struct {
	// Cmd may be adjusted (Env, Dir, Stdin, Stdout, Stderr) before Start.
	// Its own methods would start it outside the namespace.
	Cmd *exec.Cmd

	namespace *Namespace
	done      chan struct{}
	err       error

	mu sync.Mutex
	// alive holds from the start until just before the process is reaped,
	// while its id can be no other's.
	alive   bool
	started bool
}

// Command prepares a program. A nil context is one that never ends.
func (n *Namespace) Command(ctx context.Context, name string, args ...string) *Process {
	if ctx == nil {
		ctx = context.Background()
	}
	p := &Process{Cmd: exec.CommandContext(ctx, name, args...), namespace: n, done: make(chan struct{})}
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	p.Cmd.Cancel = p.Kill
	// A daemonised grandchild may hold the output open for ever.
	p.Cmd.WaitDelay = time.Second
	return p
}

// Start starts the program.
func (p *Process) Start() error {
	p.mu.Lock()
	again := p.started
	p.started = true
	p.mu.Unlock()
	if again {
		return errors.New("process already started")
	}
	forget, err := p.namespace.lab.onClose(p.end)
	if err != nil {
		return err
	}
	result := make(chan error, 1)
	// The kernel sends the death signal when the starting *thread* ends. So
	// this one is kept, in the namespace, until the program is gone.
	go func() {
		err := p.namespace.Do(func() error {
			if err := p.start(); err != nil {
				return err
			}
			result <- nil
			p.wait()
			return nil
		})
		forget()
		if err != nil {
			p.err = err
			result <- err
		}
		close(p.done)
	}()
	if err := <-result; err != nil {
		return fmt.Errorf("start %s in namespace %s: %w", p.Cmd.Path, p.namespace.Name, err)
	}
	return nil
}

func (p *Process) start() error {
	// Under the lock, so that a Kill that comes meanwhile finds it alive.
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.Cmd.Start()
	p.alive = err == nil
	return err
}

// wait runs until the program has ended and everything it left is killed.
func (p *Process) wait() {
	// Look without reaping: the id, and the group's, stay ours meanwhile.
	for {
		err := unix.Waitid(unix.P_PID, p.Cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	_ = unix.Kill(-p.Cmd.Process.Pid, unix.SIGKILL)
	p.alive = false
	p.mu.Unlock()
	p.err = p.Cmd.Wait()
}

// Wait waits for a started program to end and returns its error as
// [exec.Cmd.Wait] does. It may be called more than once.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Done is closed when a started program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Pid is the process id of a started program.
func (p *Process) Pid() int { return p.Cmd.Process.Pid }

// Signal sends a signal to the program alone. A program that has ended
// already is no error.
func (p *Process) Signal(sig unix.Signal) error { return p.signal(sig, 1) }

// Kill kills the program and all it has started in its group.
func (p *Process) Kill() error { return p.signal(unix.SIGKILL, -1) }

func (p *Process) signal(sig unix.Signal, sign int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.alive {
		return nil
	}
	if err := unix.Kill(sign*p.Cmd.Process.Pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal %s to %s: %w", sig, p.Cmd.Path, err)
	}
	return nil
}

// Stop asks the program to end (SIGTERM), kills it after the grace period,
// and returns its error as Wait does.
func (p *Process) Stop(grace time.Duration) error {
	if err := p.Signal(unix.SIGTERM); err != nil {
		return err
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		if err := p.Kill(); err != nil {
			return err
		}
	}
	return p.Wait()
}

// EndedBy says whether err, of Wait or Stop, is that the signal ended the program,
// which did not handle it.
func EndedBy(err error, sig syscall.Signal) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == sig
}

// end is Close's way: its result says only whether the program is gone.
func (p *Process) end() error {
	if err := p.Kill(); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Run starts the program and waits for it.
func (p *Process) Run() error {
	if err := p.Start(); err != nil {
		return err
	}
	return p.Wait()
}

// Output runs the program and returns its standard output. The error of a
// failed program contains what it wrote to standard error.
func (p *Process) Output() ([]byte, error) {
	var stdout, stderr bytes.Buffer
	p.Cmd.Stdout, p.Cmd.Stderr = &stdout, &stderr
	if err := p.Run(); err != nil {
		return stdout.Bytes(), fmt.Errorf("%s: %w: %s", p.Cmd.Path, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

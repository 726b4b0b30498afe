package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/pkg/model"
)

const (
	// maxOutput bounds what is kept of a program's output, for the log.
	maxOutput = 1 << 10
	// outputGrace is how long after its end somebody else may hold a program's
	// output open.
	outputGrace = time.Second
)

// run tells a program a change. It leads a process group of its own, which is
// killed when time is over.
func run(ctx context.Context, h model.Hook, c Change) error {
	text, err := c.document()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.Command[0], h.Command[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = outputGrace
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), c.environment()...)
	cmd.Stdin = bytes.NewReader(text)
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("killed after %s%s", h.Timeout, out.said())
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // it is done; what it left in the background holds its output
	case err != nil:
		return fmt.Errorf("%w%s", err, out.said())
	}
	return nil
}

// tail keeps the last bytes that are written to it.
type tail struct{ text []byte }

// Write implements [io.Writer].
func (t *tail) Write(b []byte) (int, error) {
	t.text = append(t.text, b...)
	if extra := len(t.text) - maxOutput; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	return len(b), nil
}

// said is what was written, for the end of an error.
func (t *tail) said() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(t.text), "?"))
	if text == "" {
		return ""
	}
	return ": " + text
}

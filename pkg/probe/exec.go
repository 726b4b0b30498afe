package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/xlb-io/xlb/internal/program"
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

// heldOutput is how long after its end a child that left the group may hold a
// program's output open.
const heldOutput = 100 * time.Millisecond

func (c execCheck) check(ctx context.Context) (role string, err error) {
	var out, complaint head
	err = program.Program{Command: c.command, Env: c.env, Stdout: &out, Stderr: &complaint, Held: heldOutput}.Run(ctx)
	_, failed := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		return "", c.reason(ctx, phaseProgram, ctx.Err())
	case err == nil || errors.Is(err, program.ErrHeld):
		return roleLine(out.first()), nil
	case !failed:
		return "", notStarted(err)
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

package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/xlb-io/xlb/internal/program"
	"github.com/xlb-io/xlb/pkg/model"
)

// outputGrace is how long after its end somebody else may hold a program's
// output open.
const outputGrace = time.Second

// run tells a program a change.
func run(ctx context.Context, h model.Hook, c Change) error {
	text, err := c.document()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, h.Timeout, fmt.Errorf("killed after %s", h.Timeout))
	defer cancel()
	var out program.Tail
	err = program.Program{
		Command: h.Command, Env: append(os.Environ(), c.environment()...), Stdin: bytes.NewReader(text),
		Stdout: &out, Stderr: &out, Held: outputGrace, Background: true,
	}.Run(ctx)
	if errors.Is(err, program.ErrHeld) {
		return nil // it is done; what it left in the background holds its output
	}
	return out.Explain(err)
}

package policybuild

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/policy"
	"github.com/xlb-io/xlb/plugins"
)

// outFile stands for the module's file in a command.
const outFile = "{out}"

// command builds a module.
type command struct {
	env  []string
	tool string
	args []string
}

// assignment of an environment variable.
var assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

// newCommand is the manifest's command, or the usual one of its language. What
// stands before the program in the way of env(1) is its environment.
func newCommand(m *policy.Manifest) (*command, error) {
	argv := m.Build
	if len(argv) == 0 {
		argv = plugins.Build(m.Language)
	}
	if len(argv) == 0 {
		return nil, fmt.Errorf("it does not say how to build %s (build: [PROGRAM, ARGUMENT, ...], or language: %s)",
			m.Module, strings.Join(plugins.Languages(), "|"))
	}
	c := &command{}
	if argv[0] == "env" {
		argv = argv[1:]
		for len(argv) > 0 && assignment.MatchString(argv[0]) {
			c.env, argv = append(c.env, argv[0]), argv[1:]
		}
	}
	if len(argv) == 0 {
		return nil, fmt.Errorf("build names no program")
	}
	c.tool = argv[0]
	for _, a := range argv[1:] {
		c.args = append(c.args, strings.ReplaceAll(a, outFile, m.Module))
	}
	return c, nil
}

// argv is the command as it can be typed, with env(1).
func (c *command) argv() []string {
	var words []string
	if len(c.env) > 0 {
		words = append([]string{"env"}, c.env...)
	}
	return append(append(words, c.tool), c.args...)
}

func (c *command) run(ctx context.Context, dir string, output io.Writer) error {
	tool, err := findTool(ctx, c.tool)
	if err != nil {
		return err
	}
	if c.tool == "clang" {
		// It calls the linker itself.
		if _, err := findTool(ctx, "wasm-ld"); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, tool, c.args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), c.env...)
	cmd.Stdout, cmd.Stderr = output, output
	// What the tool started may hold its output open.
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("the build failed: %s: %w", strings.Join(c.argv(), " "), err)
	}
	return nil
}

// Command xlb is a layer-4 load balancer for Linux: the daemon (xlb run) and
// the tool that shows and steers it. "xlb help" lists what it can do.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)

	width, isTerminal := terminalWidth(os.Stdout)
	_, stdinIsTerminal := terminalWidth(os.Stdin)
	os.Exit(run(ctx, env{
		stdin:           os.Stdin,
		stdout:          os.Stdout,
		stderr:          os.Stderr,
		isTerminal:      isTerminal,
		stdinIsTerminal: stdinIsTerminal,
		width:           width,
		now:             time.Now,
	}, os.Args[1:]))
}

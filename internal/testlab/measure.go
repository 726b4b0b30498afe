package testlab

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// Main is the main function of a program that measures in labs. It runs f with
// the command line's arguments and a context that ends with the first signal, and
// exits with 1 if f fails or leaves something behind.
func Main(name string, f func(ctx context.Context, args []string) error) {
	// Debian keeps nginx, haproxy and nft where only root looks.
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP, unix.SIGPIPE)
	defer stop()
	before, err := TakeSnapshot()
	if err == nil {
		err = f(ctx, os.Args[1:])
		if errors.Is(err, flag.ErrHelp) {
			return // it was printed
		}
		if errors.Is(err, context.Canceled) {
			err = errors.New("interrupted")
		}
		err = errors.Join(err, before.Leaks(5*time.Second))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// PrintJSON writes v as one indented document.
func PrintJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

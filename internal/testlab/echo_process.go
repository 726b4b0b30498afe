package testlab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
)

// echoVariable asks a process to be an echo server: "name port".
const echoVariable = "XLB_TESTLAB_ECHO"

// EchoMain is to be called first in main, or TestMain, of a program that uses
// [Namespace.StartTCPEchoProcess]. In the processes that starts it serves and
// never returns; everywhere else it does nothing.
func EchoMain() {
	order := os.Getenv(echoVariable)
	if order == "" {
		return
	}
	fmt.Fprintln(os.Stderr, "echo server:", echoMain(order))
	os.Exit(1)
}

func echoMain(order string) error {
	name, port, _ := strings.Cut(order, " ")
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp", ":"+port)
	if err != nil {
		return err
	}
	e := &TCPEcho{Server{Name: name}}
	stop := e.serve(l)
	fmt.Println("ready")
	// The starter holds the other end.
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, stop())
}

// StartTCPEchoProcess starts a TCP echo server, see [TCPEcho], as a process of
// its own: this program again, whose main must call [EchoMain]. It is ready
// when the call returns. A process may open some 20,000 files, so that one
// alone cannot hold both ends of 10,000 connections.
func (n *Namespace) StartTCPEchoProcess(ctx context.Context, port uint16) (*Process, error) {
	fail := func(err error) (*Process, error) {
		return nil, fmt.Errorf("start echo server in namespace %s: %w", n.Name, err)
	}
	self, err := os.Executable()
	if err != nil {
		return fail(err)
	}
	p := n.Command(ctx, self)
	p.Cmd.Env = append(os.Environ(), echoVariable+"="+n.Name+" "+strconv.Itoa(int(port)))
	p.Cmd.Stderr = os.Stderr
	// Held open until the process has ended; Wait closes our end.
	if _, err := p.Cmd.StdinPipe(); err != nil {
		return fail(err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer out.Close()
	p.Cmd.Stdout = in
	err = p.Start()
	in.Close()
	if err != nil {
		return fail(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		return fail(errors.Join(fmt.Errorf("it says %q (does main call testlab.EchoMain?)", line), p.end()))
	}
	return p, nil
}

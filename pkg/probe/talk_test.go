package probe

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// serve lets answer have each connection, and closes it.
func serve(t *testing.T, answer func(conn net.Conn)) net.Addr {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			answer(conn)
			conn.Close()
		}
	}()
	return l.Addr()
}

func talkTarget(addr net.Addr, p model.TalkProbe) Target {
	tg := tcpTarget(addr)
	tg.Probe.Type, tg.Probe.Talk = model.ProbeSendExpect, p
	return tg
}

// parrot greets, and says each line back with a word in front.
func parrot(conn net.Conn) {
	io.WriteString(conn, "hello\n")
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		fmt.Fprintf(conn, "OK %s\n", lines.Text())
	}
}

func TestSendExpect(t *testing.T) {
	noSocketLeft(t)
	addr := serve(t, parrot)
	port := addr.(*net.TCPAddr).Port
	for _, c := range []struct {
		probe model.TalkProbe
		want  string
	}{
		{model.TalkProbe{Expect: "hello"}, ""},
		{model.TalkProbe{Send: "a\nb\n", Expect: "OK b"}, ""},
		{model.TalkProbe{Send: "x\n", Pattern: "^hello\nOK [x-z]$"}, "timeout after 200ms while waiting for the expected answer"},
		{model.TalkProbe{Send: "x\n", Pattern: "(?m)^OK [x-z]$"}, ""},
		{model.TalkProbe{Send: "{service} {address} {port}\n", Expect: fmt.Sprintf("OK web 127.0.0.1 %d\n", port)}, ""},
		{model.TalkProbe{Send: "{other}\n", Expect: "OK {other}"}, ""},
		{model.TalkProbe{Expect: "bye"}, "timeout after 200ms while waiting for the expected answer"},
		{model.TalkProbe{Pattern: "("}, "expect: error parsing regexp: missing closing ): `(`"},
	} {
		tg := talkTarget(addr, c.probe)
		if c.want != "" {
			tg.Probe.Timeout = 200 * time.Millisecond
		}
		if got := run(t, tg); got != c.want {
			t.Errorf("%+v: reason is %q, want %q", c.probe, got, c.want)
		}
	}
	closing := serve(t, func(conn net.Conn) {
		io.WriteString(conn, "bye")
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
	})
	if got, want := run(t, talkTarget(closing, model.TalkProbe{Expect: "hello\x00"})), `the answer does not contain "hello\x00"`; got != want {
		t.Errorf("reason is %q, want %q", got, want)
	}
	if got, want := run(t, talkTarget(closing, model.TalkProbe{Pattern: "hello"})), `the answer does not match "hello"`; got != want {
		t.Errorf("reason is %q, want %q", got, want)
	}
	endless := serve(t, func(conn net.Conn) { io.Copy(conn, strings.NewReader(strings.Repeat("x", 1<<20))) })
	if got, want := run(t, talkTarget(endless, model.TalkProbe{Pattern: "y"})), `the answer does not match "y"`; got != want {
		t.Errorf("reason is %q, want %q", got, want)
	}
}

func TestSendExpectOverTLS(t *testing.T) {
	noSocketLeft(t)
	a, own := authority(t)
	tg := talkTarget(serveTLS(t, &tls.Config{Certificates: []tls.Certificate{own}}, func(c *tls.Conn) { parrot(c) }), model.TalkProbe{Send: "x\n", Expect: "OK x"})
	tg.Probe.TLS = model.TLSProbe{Mode: model.TLSOn, CA: a.File}
	if reason := run(t, tg); reason != "" {
		t.Error(reason)
	}
	tg.Probe.TLS.Mode = model.TLSOff
	tg.Probe.Timeout = time.Second
	if run(t, tg) == "" {
		t.Error("plain text to a TLS server passed")
	}
}

// serveUDP answers datagrams by what answer makes of them; nil answers nothing.
func serveUDP(t *testing.T, answer func([]byte) []byte) net.Addr {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if out := answer(buf[:n]); out != nil {
				conn.WriteTo(out, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return conn.LocalAddr()
}

func TestUDP(t *testing.T) {
	noSocketLeft(t)
	echo := serveUDP(t, func(b []byte) []byte { return append([]byte("pong "), b...) })
	silent := serveUDP(t, func([]byte) []byte { return nil })
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, c := range []struct {
		name  string
		addr  net.Addr
		probe model.TalkProbe
		want  string
	}{
		{"any answer", echo, model.TalkProbe{Send: "x"}, ""},
		{"empty datagram", echo, model.TalkProbe{}, ""},
		{"right answer", echo, model.TalkProbe{Send: "\x00x", Expect: "pong \x00x"}, ""},
		{"pattern", echo, model.TalkProbe{Send: "x", Pattern: "^pong .$"}, ""},
		{"wrong answer", echo, model.TalkProbe{Send: "x", Expect: "pong y"}, `the answer does not contain "pong y"`},
		{"silence is good", silent, model.TalkProbe{Send: "x"}, ""},
		{"silence is bad", silent, model.TalkProbe{Send: "x", Expect: "x"}, "timeout after 150ms while waiting for the expected answer"},
		{"unreachable", closed.LocalAddr(), model.TalkProbe{Send: "x"}, "the port is unreachable, says ICMP"},
		{"unreachable, expecting", closed.LocalAddr(), model.TalkProbe{Send: "x", Expect: "y"}, "the port is unreachable, says ICMP"},
	} {
		tg := tcpTarget(c.addr)
		tg.Probe.Type, tg.Probe.Talk = model.ProbeUDP, c.probe
		if c.addr == silent {
			tg.Probe.Timeout = 150 * time.Millisecond
		}
		if got := run(t, tg); got != c.want {
			t.Errorf("%s: reason is %q, want %q", c.name, got, c.want)
		}
	}
}

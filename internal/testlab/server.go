package testlab

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Server is what the real servers of a lab have in common. They listen on
// every address of their namespace, IPv4 and IPv6, and say the namespace's
// name in what they answer.
type Server struct {
	// Name is the namespace's.
	Name string
	Port uint16

	requests    atomic.Uint64
	connections atomic.Uint64

	// start opens the sockets and serves until stop, which returns when
	// nothing is served any more.
	start func() (stop func() error, err error)
	mu    sync.Mutex
	stop  func() error
}

// Requests is the number of requests, datagrams or (TCP echo) reads answered
// since the server was first started.
func (s *Server) Requests() uint64 { return s.requests.Load() }

// Connections is the number of TCP connections accepted since the server was
// first started; 0 for UDP.
func (s *Server) Connections() uint64 { return s.connections.Load() }

// Stop ends the server as a kill would: the sockets close at once, whatever
// they were doing, and later packets meet a closed port. Stopping a stopped
// server does nothing.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop == nil {
		return nil
	}
	err := s.stop()
	s.stop = nil
	if err != nil {
		return fmt.Errorf("stop server of %s: %w", s.Name, err)
	}
	return nil
}

// Restart starts a stopped server on the same port; one that runs is stopped
// first. The counts go on.
func (s *Server) Restart() error {
	if err := s.Stop(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stop, err := s.start()
	if err != nil {
		return fmt.Errorf("start server of %s: %w", s.Name, err)
	}
	s.stop = stop
	return nil
}

// launch starts a server for the first time and gives it to the lab.
func (n *Namespace) launch(s *Server) error {
	if err := s.Restart(); err != nil {
		return err
	}
	return n.lab.own(s.Stop)
}

// TCPEcho greets every connection with its name and a newline and then sends
// back what it gets.
type TCPEcho struct{ Server }

// StartTCPEcho starts an echo server for TCP.
func (n *Namespace) StartTCPEcho(port uint16) (*TCPEcho, error) {
	e := &TCPEcho{Server{Name: n.Name, Port: port}}
	e.start = func() (func() error, error) {
		l, err := n.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return nil, err
		}
		return e.serve(l), nil
	}
	return e, n.launch(&e.Server)
}

func (e *TCPEcho) serve(l net.Listener) (stop func() error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		open  = make(map[net.Conn]struct{})
		ended bool
	)
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				// Out of descriptors: the caller waits in the backlog.
				time.Sleep(5 * time.Millisecond)
				continue
			}
			e.connections.Add(1)
			mu.Lock()
			if ended {
				mu.Unlock()
				c.Close()
				return
			}
			open[c] = struct{}{}
			mu.Unlock()
			wg.Go(func() {
				e.echo(c)
				c.Close()
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	return func() error {
		err := l.Close()
		mu.Lock()
		ended = true
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
		return err
	}
}

func (e *TCPEcho) echo(c net.Conn) {
	if _, err := fmt.Fprintln(c, e.Name); err != nil {
		return
	}
	// Not io.Copy: from connection to connection it splices through a pipe,
	// two more descriptors each.
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		e.requests.Add(1)
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

// UDPEcho answers every datagram with its name, a space and the payload, from
// the address the datagram was sent to.
type UDPEcho struct{ Server }

// StartUDPEcho starts an echo server for UDP.
func (n *Namespace) StartUDPEcho(port uint16) (*UDPEcho, error) {
	e := &UDPEcho{Server{Name: n.Name, Port: port}}
	e.start = func() (func() error, error) {
		v4, err := n.echoSocket("udp4", port)
		if err != nil {
			return nil, err
		}
		v6, err := n.echoSocket("udp6", port)
		if err != nil {
			return nil, errors.Join(err, v4.Close())
		}
		var wg sync.WaitGroup
		wg.Go(func() { e.echo(v4) })
		wg.Go(func() { e.echo(v6) })
		return func() error {
			err := errors.Join(v4.Close(), v6.Close())
			wg.Wait()
			return err
		}, nil
	}
	return e, n.launch(&e.Server)
}

func (n *Namespace) echoSocket(network string, port uint16) (*net.UDPConn, error) {
	c, err := n.ListenPacket(network, fmt.Sprintf(":%d", port))
	if err != nil {
		return nil, err
	}
	conn := c.(*net.UDPConn)
	if err := wantDestination(conn, network == "udp6"); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (e *UDPEcho) echo(conn *net.UDPConn) {
	buf, oob := make([]byte, 65536), make([]byte, 256)
	reply := make([]byte, 0, len(buf)+len(e.Name)+1)
	for {
		n, oobn, _, from, err := conn.ReadMsgUDPAddrPort(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		e.requests.Add(1)
		reply = append(append(append(reply[:0], e.Name...), ' '), buf[:n]...)
		// A lost answer is a lost datagram: the client asks again.
		_, _, _ = conn.WriteMsgUDPAddrPort(reply, answerFrom(oob[:oobn]), from)
	}
}

package test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/xlb-io/xlb/internal/testlab"
)

const (
	quicPort     = 4433
	quicProtocol = "xlb-test"
	// How the servers' connection IDs look: see docs/selection.md.
	quicRotation = 2
	quicIDLength = 4
)

// serverIDs makes connection IDs that name a server: the configuration's number, the
// server's ID, and five octets by chance.
type serverIDs struct{ server [quicIDLength]byte }

func (s serverIDs) ConnectionIDLen() int { return 1 + quicIDLength + 5 }

func (s serverIDs) GenerateConnectionID() (quic.ConnectionID, error) {
	id := make([]byte, s.ConnectionIDLen())
	rand.Read(id)
	id[0] = id[0]&0x1f | quicRotation<<5
	copy(id[1:], s.server[:])
	return quic.ConnectionIDFromBytes(id), nil
}

// quicConfig ends a connection soon after the other side fell silent.
var quicConfig = &quic.Config{MaxIdleTimeout: 3 * time.Second, HandshakeIdleTimeout: 3 * time.Second}

// quicServer answers each stream with its name and what it read.
type quicServer struct {
	accepted atomic.Int64
}

// startQUIC starts a server on a backend, for as long as the test runs.
func (n *network) startQUIC(i int) *quicServer {
	n.t.Helper()
	b := n.Backends[i]
	conn := must(b.ListenPacket("udp", ":4433"))(n.t)
	transport := &quic.Transport{Conn: conn, ConnectionIDGenerator: serverIDs{n.address(i, false).As4()}}
	listener := must(transport.Listen(&tls.Config{Certificates: []tls.Certificate{certificate(n.t)}, NextProtos: []string{quicProtocol}}, quicConfig))(n.t)
	s := &quicServer{}
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		for {
			c, err := listener.Accept(ctx)
			if err != nil {
				return
			}
			s.accepted.Add(1)
			group.Go(func() { answer(ctx, c, b.Name) })
		}
	})
	n.t.Cleanup(func() {
		stop()
		err := errors.Join(listener.Close(), transport.Close(), conn.Close())
		group.Wait()
		if err != nil {
			n.t.Error(err)
		}
	})
	return s
}

// answer serves one connection to its end.
func answer(ctx context.Context, c *quic.Conn, name string) {
	defer c.CloseWithError(0, "")
	for {
		stream, err := c.AcceptStream(ctx)
		if err != nil {
			return
		}
		said, err := io.ReadAll(io.LimitReader(stream, 1<<20))
		if err != nil {
			return
		}
		if _, err := io.WriteString(stream, name+" "+string(said)); err != nil || stream.Close() != nil {
			return
		}
	}
}

// certificate is one that nobody needs to trust.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))(t)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// rebinding is a client's socket behind a NAT that may give it another port: the
// client does not notice.
type rebinding struct {
	n *testlab.Namespace

	mu     sync.Mutex
	now    net.PacketConn
	closed bool
}

func newRebinding(n *testlab.Namespace, from netip.Addr) (*rebinding, error) {
	r := &rebinding{n: n}
	var err error
	r.now, err = n.ListenPacket("udp", netip.AddrPortFrom(from, 0).String())
	return r, err
}

// rebind takes another port, or address too, and what comes to the old one is lost.
func (r *rebinding) rebind(from netip.Addr) error {
	next, err := r.n.ListenPacket("udp", netip.AddrPortFrom(from, 0).String())
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.now
	r.now = next
	return old.Close()
}

func (r *rebinding) socket() (c net.PacketConn, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now, r.closed
}

func (r *rebinding) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		c, _ := r.socket()
		n, from, err := c.ReadFrom(b)
		if now, closed := r.socket(); err != nil && errors.Is(err, net.ErrClosed) && now != c && !closed {
			continue
		}
		return n, from, err
	}
}

func (r *rebinding) WriteTo(b []byte, to net.Addr) (int, error) {
	c, _ := r.socket()
	return c.WriteTo(b, to)
}

func (r *rebinding) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.now.Close()
}

func (r *rebinding) LocalAddr() net.Addr {
	c, _ := r.socket()
	return c.LocalAddr()
}

func (r *rebinding) SetDeadline(t time.Time) error {
	c, _ := r.socket()
	return c.SetDeadline(t)
}

func (r *rebinding) SetReadDeadline(t time.Time) error {
	c, _ := r.socket()
	return c.SetReadDeadline(t)
}

func (r *rebinding) SetWriteDeadline(t time.Time) error {
	c, _ := r.socket()
	return c.SetWriteDeadline(t)
}

// quicClient is one connection.
type quicClient struct {
	*quic.Conn
	socket *rebinding
	more   []io.Closer // in the order of their making
}

// dialQUIC opens a connection to a frontend.
func (n *network) dialQUIC(to netip.AddrPort) (*quicClient, error) {
	socket, err := newRebinding(n.Client, n.client(to.Addr().Is6()))
	if err != nil {
		return nil, err
	}
	transport := &quic.Transport{Conn: socket}
	c := &quicClient{socket: socket, more: []io.Closer{socket, transport}}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c.Conn, err = transport.Dial(ctx, net.UDPAddrFromAddrPort(to), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{quicProtocol}}, quicConfig)
	if err != nil {
		return nil, errors.Join(err, c.end())
	}
	return c, nil
}

func (c *quicClient) end() error {
	var errs []error
	if c.Conn != nil {
		errs = append(errs, c.CloseWithError(0, ""))
	}
	for i := len(c.more) - 1; i >= 0; i-- {
		errs = append(errs, c.more[i].Close())
	}
	return errors.Join(errs...)
}

// ask says something over a stream of its own and returns who answered.
func (c *quicClient) ask(words string) (server string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	stream, err := c.OpenStreamSync(ctx)
	if err != nil {
		return "", err
	}
	if err := stream.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(stream, words); err != nil {
		return "", err
	}
	if err := stream.Close(); err != nil {
		return "", err
	}
	said, err := io.ReadAll(stream)
	if err != nil {
		return "", err
	}
	server, echo, _ := strings.Cut(string(said), " ")
	if echo != words {
		return "", errors.New("it answered something else")
	}
	return server, nil
}

// client is the client's address of a family.
func (n *network) client(ipv6 bool) netip.Addr {
	if ipv6 {
		return n.Client6
	}
	return n.Client4
}

// elsewhere gives the client one more address of a family.
func (n *network) elsewhere(ipv6 bool) netip.Addr {
	n.t.Helper()
	b, bits := n.client(ipv6).AsSlice(), "/24"
	if ipv6 {
		bits = "/64"
	}
	b[len(b)-1] += 100
	other, _ := netip.AddrFromSlice(b)
	args := []string{"address", "add", other.String() + bits, "dev", "eth0"}
	if ipv6 {
		args = append(args, "nodad")
	}
	must(n.Client.Command(context.Background(), "ip", args...).Output())(n.t)
	return other
}

// migrate moves the connection to another socket, as a client that changes its
// network does: it tries the way, and then uses connection IDs that were not used
// before.
func (c *quicClient) migrate(n *network, from netip.Addr) error {
	socket, err := n.Client.ListenPacket("udp", netip.AddrPortFrom(from, 0).String())
	if err != nil {
		return err
	}
	transport := &quic.Transport{Conn: socket}
	c.more = append(c.more, socket, transport)
	path, err := c.AddPath(transport)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := path.Probe(ctx); err != nil {
		return err
	}
	return path.Switch()
}

func init() {
	// It complains of sockets whose buffers the machine does not make larger.
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
}

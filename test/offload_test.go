package test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/xlb-io/xlb/internal/testlab"
)

const transferSize = 20 << 20

// TestOffloads moves 20 MB each way through a network whose hosts hand out
// packets of 64 KiB with unfinished checksums. Generic XDP cannot see whether
// a checksum is finished, so nat there needs them so.
func TestOffloads(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		forward, mode string
		shape         testlab.Shape
	}{
		{"nat", "tc", testlab.Routed},
		{"nat", "tc", testlab.OneArm},
		{"l2dsr", "tc", testlab.OneArm},
		{"l2dsr", "generic", testlab.OneArm},
	} {
		t.Run(fmt.Sprintf("%s/%s/%s", c.forward, c.shape, c.mode), func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, testlab.TopologyOptions{
				Shape: c.shape, Backends: 1, BackendsHoldVIPs: c.forward == "l2dsr", KeepOffloads: true,
			})
			if _, err := n.Backends[0].StartTCPEcho(echoPort); err != nil {
				t.Fatal(err)
			}
			more := "forward: " + c.forward + "\nprobe: none"
			var services []service
			for _, f := range families {
				services = append(services,
					service{name: "web" + f.name, ipv6: f.ipv6, weights: []int{1}, more: more},
					service{name: "echo" + f.name, ipv6: f.ipv6, port: echoPort, weights: []int{1}, more: more},
					service{name: "udp" + f.name, ipv6: f.ipv6, protocol: "udp", weights: []int{1}, more: more})
			}
			n.run(n.config("attach: "+c.mode, services...))
			for _, s := range services {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				var err error
				switch {
				case s.protocol == "udp":
					_, err = n.ask(s.frontend(n), 1)
				case s.port == echoPort:
					err = n.echo(ctx, s)
				default:
					err = n.download(ctx, s)
				}
				cancel()
				if err != nil {
					t.Errorf("%s: %v", s.name, err)
				}
			}
		})
	}
}

func (n *network) download(ctx context.Context, s service) error {
	client, err := n.Client.HTTPClient(false, 0)
	if err != nil {
		return err
	}
	body, err := openBody(ctx, client, fmt.Sprintf("http://%s/large?bytes=%d", s.frontend(n), transferSize))
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = testlab.VerifyBody(body, transferSize)
	return err
}

// echo sends the bytes that come back at the same time.
func (n *network) echo(ctx context.Context, s service) error {
	conn, err := n.Client.Dial(ctx, "tcp", s.frontend(n).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	reader := bufio.NewReader(conn)
	if _, err := reader.ReadString('\n'); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	var group errgroup.Group
	group.Go(func() error {
		_, err := io.Copy(conn, &counting{left: transferSize})
		return err
	})
	expect := &counting{left: transferSize}
	got, want := make([]byte, 1<<16), make([]byte, 1<<16)
	for at := 0; at < transferSize; at += len(got) {
		if _, err := io.ReadFull(reader, got); err != nil {
			return fmt.Errorf("at byte %d: %w", at, err)
		}
		if _, err := io.ReadFull(expect, want); err != nil {
			return err
		}
		if string(got) != string(want) {
			return fmt.Errorf("the bytes from %d on came back changed", at)
		}
	}
	return group.Wait()
}

// counting is a stream in which every four bytes are their own position.
type counting struct{ at, left int }

func (c *counting) Read(b []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), c.left)
	for i := range n {
		b[i] = byte((c.at + i) / 4 >> (8 * ((c.at + i) % 4)))
	}
	c.at += n
	c.left -= n
	return n, nil
}

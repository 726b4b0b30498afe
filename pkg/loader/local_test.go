package loader_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

// A program on the balancer that connects to a VIP meets the kernel alone: what
// it sends passes no ingress. Without a route to the VIP it has none, and where
// the host has the VIP it reaches the host's own sockets. Clients outside are
// balanced all the same.
func TestLocalClient(t *testing.T) {
	for _, mode := range []model.AttachMode{model.AttachNative, model.AttachTC} {
		t.Run(mode.String(), func(t *testing.T) {
			n := newNetwork(t)
			l := n.open(t, n.settings(mode))
			defer l.Close()
			n.fill(t, l)
			client, err := n.Balancer.HTTPClient(false, 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			defer client.CloseIdleConnections()
			for _, c := range []struct {
				with []string
				want error
			}{
				{nil, unix.ENETUNREACH},
				{[]string{"addr", "add", n.VIP4.String() + "/32", "dev", "lo"}, unix.ECONNREFUSED},
			} {
				if c.with != nil {
					n.runOutside(t, "ip", c.with...)
				}
				if body, err := testlab.Get(context.Background(), client, "http://"+n.VIP4.String()+"/"); !errors.Is(err, c.want) {
					t.Errorf("after ip %v: %q, %v; want %v", c.with, body, err, c.want)
				}
				n.works(t)
			}
		})
	}
}

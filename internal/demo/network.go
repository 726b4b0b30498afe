package demo

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

// weights are those of backend1, backend2 and backend3.
var weights = []int{1, 1, 3}

const (
	httpPort = 8080
	echoPort = 7
	vipPort  = 80

	// requestTimeout is ample for a slow machine. A datagram is sent once: one
	// lost is a request failed.
	requestTimeout = 5 * time.Second
)

// network is the client, the balancer and the backends with their servers.
type network struct {
	*testlab.Topology
	kinds []kind
	http  []*testlab.HTTPServer
	echo  []*testlab.UDPEcho
	// patient is for downloads, which may last.
	patient *http.Client
}

// kind is a kind of request.
type kind struct {
	name    string
	service string
	url     string // of HTTP
	// ask sends a request over a connection of its own and returns the name
	// of the backend that answered.
	ask func(context.Context) (backend string, err error)
}

func buildNetwork(lab *testlab.Lab) (*network, error) {
	topology, err := lab.Topology(testlab.TopologyOptions{Shape: testlab.Routed, Backends: len(weights)})
	if err != nil {
		return nil, err
	}
	n := &network{Topology: topology}
	for _, b := range topology.Backends {
		h, err := b.StartHTTP(httpPort)
		if err != nil {
			return nil, err
		}
		e, err := b.StartUDPEcho(echoPort)
		if err != nil {
			return nil, err
		}
		n.http, n.echo = append(n.http, h), append(n.echo, e)
	}
	client, err := n.Client.HTTPClient(false, requestTimeout)
	if err != nil {
		return nil, err
	}
	if n.patient, err = n.Client.HTTPClient(false, 0); err != nil {
		return nil, err
	}
	web := func(name, service string, vip netip.Addr) kind {
		url := fmt.Sprintf("http://%s/", netip.AddrPortFrom(vip, vipPort))
		return kind{name: name, service: service, url: url, ask: func(ctx context.Context) (string, error) {
			return testlab.Get(ctx, client, url)
		}}
	}
	echo := func(name, service string, vip netip.Addr) kind {
		return kind{name: name, service: service, ask: func(ctx context.Context) (string, error) {
			backend, _, err := n.Client.AskUDP(ctx, netip.AddrPortFrom(vip, echoPort), []byte("hello"), 1, requestTimeout)
			return backend, err
		}}
	}
	n.kinds = []kind{
		web("HTTP4", "web4", n.VIP4), web("HTTP6", "web6", n.VIP6),
		echo("UDP4", "echo4", n.VIP4), echo("UDP6", "echo6", n.VIP6),
	}
	return n, nil
}

// web are the kinds that are HTTP.
func (n *network) web() []kind { return n.kinds[:2] }

// kill ends a backend's servers as the death of the machine's programs would:
// connections break, new ones are refused.
func (n *network) kill(backend int) error {
	if err := n.http[backend].Stop(); err != nil {
		return err
	}
	return n.echo[backend].Stop()
}

func (n *network) revive(backend int) error {
	if err := n.http[backend].Restart(); err != nil {
		return err
	}
	return n.echo[backend].Restart()
}

// config is the daemon's configuration file.
func (n *network) config(attach model.AttachMode) string {
	var b strings.Builder
	fmt.Fprintf(&b, `interfaces: [%s]
attach: %s
flow_table_size: 65536
defaults:
  probe: {type: http, port: %d, path: /health, interval: 300ms, timeout: 300ms, rise: 2, fall: 2}
services:
`, strings.Join(n.Interfaces, ", "), attach, httpPort)
	for _, s := range []struct {
		name, scheme string
		vip          netip.Addr
		front, back  uint16
	}{
		{"web4", "tcp", n.VIP4, vipPort, httpPort},
		{"web6", "tcp", n.VIP6, vipPort, httpPort},
		{"echo4", "udp", n.VIP4, echoPort, echoPort},
		{"echo6", "udp", n.VIP6, echoPort, echoPort},
	} {
		fmt.Fprintf(&b, "  %s:\n    frontends: \"%s://%s\"\n    backends:\n", s.name, s.scheme, netip.AddrPortFrom(s.vip, s.front))
		for i, backend := range n.Backends {
			address := backend.IP4
			if s.vip.Is6() {
				address = backend.IP6
			}
			fmt.Fprintf(&b, "      - {address: \"%s\", port: %d, weight: %d}\n", address, s.back, weights[i])
		}
	}
	return b.String()
}

// indexOf is the number of the backend with an address of either family.
func (n *network) indexOf(a netip.Addr) int {
	for i, b := range n.Backends {
		if b.IP4 == a || b.IP6 == a {
			return i
		}
	}
	return -1
}

package test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/net/websocket"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/internal/testlab/servers"
	"github.com/xlb-io/xlb/pkg/api"
)

const mqttPort, mqttWebSocketPort = 1883, 8083

// TestGuideMQTT follows the guide to MQTT clusters with real brokers, and clients of
// both transports who must hear everything again after each of its events.
func TestGuideMQTT(t *testing.T) {
	t.Parallel()
	needs(t, "mosquitto", "mosquitto_sub")
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 3})
	n.patience = 60 * time.Second
	g := n.guide("mqtt-cluster.md")
	var brokers []*servers.Server
	for i, b := range n.Backends {
		o := servers.MosquittoOptions{WebSocketPort: mqttWebSocketPort}
		if i > 0 {
			o.Settings = g.blocks(fmt.Sprintf("conf %d", i+1), 1)
		}
		brokers = append(brokers, must(servers.StartMosquitto(b.Namespace, mqttPort, o))(t))
	}
	n.run(fmt.Sprintf("interfaces: [%s]\ntable_size: 1009\nservices: {}\n", strings.Join(n.Interfaces, ", ")))
	n.write("table_size: 1009\n" + g.blocks("yaml", 1)[0])
	g.steps(0)
	for i := range brokers {
		n.awaitStateAt(i, api.StateHealthy, "")
	}

	c := &mqttCluster{network: n}
	c.subscribeAll()
	c.allHear("at the start")
	c.returns()

	g.steps(1)
	n.awaitStateAt(0, api.StateDraining, "")
	c.allHear("while one drains")
	n.awaitEmpty(0)
	c.allHear("after the drain")
	for s, at := range c.at() {
		if at == n.Backends[0].IP4 {
			t.Errorf("%s is at the broker that was drained", s)
		}
	}
	if err := brokers[0].Stop(); err != nil {
		t.Fatal(err)
	}
	c.allHear("without the first broker")
	if err := brokers[0].Start(); err != nil {
		t.Fatal(err)
	}
	g.steps(2)
	n.awaitStateAt(0, api.StateHealthy, "")
	c.allHear("with all brokers again")
	if out := g.see(); out != "test/hello to all\n" {
		t.Errorf("the guide's client hears %q", out)
	}

	// The one in the middle of the star, and another.
	for i := range 2 {
		c.reconnect()
		if err := brokers[i].Kill(); err != nil {
			t.Fatal(err)
		}
		n.awaitStateAt(i, api.StateUnhealthy, "")
		c.allHear(fmt.Sprintf("without broker %d, which was killed", i+1))
		if err := brokers[i].Start(); err != nil {
			t.Fatal(err)
		}
		n.awaitStateAt(i, api.StateHealthy, "")
		c.allHear(fmt.Sprintf("with broker %d again", i+1))

		c.reconnect()
		if err := brokers[i].Freeze(); err != nil {
			t.Fatal(err)
		}
		n.awaitStateAt(i, api.StateUnhealthy, "")
		conn, err := n.Balancer.Dial(t.Context(), "tcp", brokers[i].At(n.Backends[i].IP4).String())
		if err != nil {
			t.Errorf("a probe of type tcp would find it: %v", err)
		} else {
			conn.Close()
		}
		c.allHear(fmt.Sprintf("without broker %d, which hangs", i+1))
		if i == 0 {
			if out := g.steps(3); !strings.Contains(out, "unhealthy") {
				t.Errorf("the guide's commands print\n%s", out)
			}
		}
		if out := g.see(); out != "test/hello to all\n" {
			t.Errorf("without broker %d, which hangs, the guide's client hears %q", i+1, out)
		}
		if err := brokers[i].Thaw(); err != nil {
			t.Fatal(err)
		}
		n.awaitStateAt(i, api.StateHealthy, "")
		c.allHear(fmt.Sprintf("with broker %d, which hung", i+1))
	}
}

// mqttCluster are clients of brokers, each with an address of its own.
type mqttCluster struct {
	*network
	subscribers []*subscriber
	addresses   int
	rounds      int
}

// subscriber is a client that remembers what it heard.
type subscriber struct {
	mqtt.Client
	name string
	from netip.Addr

	mu    sync.Mutex
	heard map[string]bool
}

func (s *subscriber) String() string { return s.name }

func (s *subscriber) hears(payload string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard[payload]
}

// address gives the client's host one more address.
func (c *mqttCluster) address() netip.Addr {
	c.t.Helper()
	c.addresses++
	a := c.Client4.As4()
	a[3] = byte(100 + c.addresses)
	addr := netip.AddrFrom4(a)
	if err := c.Client.AddAddresses("eth0", netip.PrefixFrom(addr, 24)); err != nil {
		c.t.Fatal(err)
	}
	return addr
}

// join connects a client, who subscribes each time that it connects and pings
// often, as the guide says.
func (c *mqttCluster) join(name, scheme string, from netip.Addr, clean bool) *subscriber {
	c.t.Helper()
	s := &subscriber{name: name, from: from, heard: map[string]bool{}}
	port := uint16(mqttPort)
	if scheme == "ws" {
		port = mqttWebSocketPort
	}
	server := netip.AddrPortFrom(c.VIP4, port)
	o := mqtt.NewClientOptions().AddBroker(fmt.Sprintf("%s://%s/mqtt", scheme, server)).SetClientID(name).SetCleanSession(clean).
		SetKeepAlive(2 * time.Second).SetPingTimeout(2 * time.Second).SetConnectTimeout(5 * time.Second).SetMaxReconnectInterval(time.Second).
		SetConnectRetry(true).SetConnectRetryInterval(time.Second).
		SetCustomOpenConnectionFn(func(u *url.URL, o mqtt.ClientOptions) (net.Conn, error) {
			return c.open(u, from, server, o.ConnectTimeout)
		}).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.heard[string(m.Payload())] = true
		}).
		SetOnConnectHandler(func(m mqtt.Client) { m.Subscribe("guide/#", 1, nil) })
	s.Client = mqtt.NewClient(o)
	c.done(s.Connect())
	return s
}

// open is a connection from an address of the client's, of MQTT or WebSocket.
func (c *mqttCluster) open(u *url.URL, from netip.Addr, to netip.AddrPort, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := c.Client.DialFrom(ctx, "tcp", netip.AddrPortFrom(from, 0), to)
	if err != nil || u.Scheme != "ws" {
		return conn, err
	}
	config, err := websocket.NewConfig(u.String(), "http://client.test/")
	if err == nil {
		config.Protocol = []string{"mqtt"}
		err = conn.SetDeadline(time.Now().Add(timeout))
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	ws, err := websocket.NewClient(config, conn)
	if err != nil {
		conn.Close()
		return nil, err
	}
	ws.PayloadType = websocket.BinaryFrame
	return ws, conn.SetDeadline(time.Time{})
}

// done waits for the end of what a client does.
func (c *mqttCluster) done(t mqtt.Token) {
	c.t.Helper()
	if !t.WaitTimeout(c.patience) {
		c.t.Fatalf("a client waits for longer than %s", c.patience)
	}
	if t.Error() != nil {
		c.t.Fatal(t.Error())
	}
}

// subscribeAll connects clients until each broker has one of each transport.
func (c *mqttCluster) subscribeAll() {
	c.t.Helper()
	c.t.Cleanup(func() {
		for _, s := range c.subscribers {
			s.Disconnect(0)
		}
	})
	for _, scheme := range []string{"tcp", "ws"} {
		seen := map[netip.Addr]bool{}
		for len(seen) < len(c.Backends) {
			if len(c.subscribers) > 60 {
				c.t.Fatalf("%d clients, and not all brokers have one of each transport: %v", len(c.subscribers), c.at())
			}
			s := c.join(fmt.Sprintf("%s-%d", scheme, len(c.subscribers)), scheme, c.address(), true)
			c.subscribers = append(c.subscribers, s)
			seen[c.at()[s]] = true
		}
	}
	c.t.Logf("%d subscribers", len(c.subscribers))
}

// reconnect lets all subscribers go and come again, to all brokers.
func (c *mqttCluster) reconnect() {
	c.t.Helper()
	for _, s := range c.subscribers {
		s.Disconnect(250)
		c.done(s.Connect())
	}
	c.eventually("all brokers have clients", func() string {
		seen := map[netip.Addr]bool{}
		for _, at := range c.at() {
			seen[at] = true
		}
		if len(seen) < len(c.Backends) {
			return fmt.Sprint(c.at())
		}
		return ""
	})
}

// at tells which broker each subscriber is at.
func (c *mqttCluster) at() map[*subscriber]netip.Addr {
	c.t.Helper()
	at := map[*subscriber]netip.Addr{}
	flows := must(c.pollFlows(api.FlowFilter{}))(c.t)
	for _, s := range c.subscribers {
		for _, f := range flows {
			if f.Client.Addr() == s.from && f.State == "established" {
				at[s] = f.Backend.Addr()
			}
		}
	}
	return at
}

// allHear waits until every subscriber hears what subscribers say, from each
// transport. Until all are connected again there may be nobody to hear it, so it is
// said again and again.
func (c *mqttCluster) allHear(when string) {
	c.t.Helper()
	begin := time.Now()
	for _, speaker := range []*subscriber{c.subscribers[0], c.subscribers[len(c.subscribers)-1]} {
		c.rounds++
		payload := fmt.Sprint(c.rounds)
		c.eventually(fmt.Sprintf("%s all hear %s", when, speaker), func() string {
			if speaker.IsConnectionOpen() {
				speaker.Publish("guide/all", 1, false, payload).WaitTimeout(500 * time.Millisecond)
			}
			var deaf []*subscriber
			for _, s := range c.subscribers {
				if !s.hears(payload) {
					deaf = append(deaf, s)
				}
			}
			if len(deaf) == 0 {
				return ""
			}
			return fmt.Sprintf("%v do not; clients are at %v", deaf, c.at())
		})
	}
	c.t.Logf("%s: all heard within %v", when, time.Since(begin).Round(time.Millisecond))
}

// returns checks that clients who come back find what was kept for them.
func (c *mqttCluster) returns() {
	c.t.Helper()
	for i, scheme := range []string{"tcp", "ws", "tcp", "ws", "tcp", "ws"} {
		name, from := fmt.Sprintf("returns-%d", i), c.address()
		s := c.join(name, scheme, from, false)
		c.eventually(name+" hears", func() string { return c.said(s, name+" is here") })
		s.Disconnect(250)
		away := name + " was away"
		c.done(c.subscribers[0].Publish("guide/"+name, 1, false, away))
		c.eventually(away+" goes round", func() string {
			for _, other := range c.subscribers {
				if !other.hears(away) {
					return other.name + " does not hear it"
				}
			}
			return ""
		})
		s = c.join(name, scheme, from, false)
		c.eventually(name+" hears what was said meanwhile", func() string {
			if !s.hears(away) {
				return "it does not"
			}
			return ""
		})
		s.Disconnect(250)
	}
}

// said says something until a client hears it.
func (c *mqttCluster) said(to *subscriber, payload string) string {
	c.subscribers[0].Publish("guide/all", 1, false, payload).WaitTimeout(500 * time.Millisecond)
	if !to.hears(payload) {
		return "it does not"
	}
	return ""
}

package control

import (
	"net/netip"
	"slices"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// talk is how far a client's connection is, as xlb sees it.
type talk int

const (
	talkBegun talk = iota
	talkOpen
	talkClosing
)

// caller is a client of the kernel's data plane with its connection.
type caller struct {
	service   int
	from, vip netip.AddrPort
	protocol  model.Protocol
	talk      talk
	// home is the backend it is with; invalid if it may move: then the next
	// packet decides.
	home netip.AddrPort
	// last is the time of the last packet, resets aside, and reset that of a
	// reset behind it.
	last, reset time.Time
	// writes is kernelWire's when it began.
	writes int
	journal
}

func (w *kernelWire) live(c *caller) bool {
	now, t := w.clock(), w.services[c.service].Timeouts
	timeout := map[talk]time.Duration{talkBegun: t.TCPSyn, talkOpen: t.TCPEstablished, talkClosing: t.TCPFin}[c.talk]
	if c.protocol == model.UDP {
		timeout = t.UDP
	}
	if !c.reset.IsZero() && now.Sub(c.reset) > t.TCPClosed-recordSlack {
		return false
	}
	return now.Sub(c.last) <= timeout-recordSlack
}

// forgotten: whatever was recorded of the connection has expired.
func (w *kernelWire) forgotten(c *caller) bool {
	last := c.last
	if c.reset.After(last) {
		last = c.reset
	}
	return w.clock().Sub(last) > flowTimeout+recordSlack
}

func (w *kernelWire) traffic(packets int) {
	if len(w.after.VIPs) == 0 || w.number(0, w.before) == 0 {
		return // the first write is not done
	}
	w.callers = slices.DeleteFunc(w.callers, func(c *caller) bool { return w.forgotten(c) && w.IntN(4) == 0 })
	for range packets {
		if w.IntN(3) == 0 || len(w.callers) == 0 {
			c := w.newCaller()
			w.callers = append(w.callers, c)
			w.begin(c)
			continue
		}
		w.goOn(w.callers[w.IntN(len(w.callers))])
	}
}

func (w *kernelWire) newCaller() *caller {
	w.ports++
	c := &caller{service: w.IntN(len(w.services))}
	s := w.services[c.service]
	f := s.Frontends[w.IntN(len(s.Frontends))]
	c.vip, c.protocol = netip.AddrPortFrom(f.VIP, f.Port), f.Protocol
	from := steered4
	if f.VIP.Is6() {
		from = steered6
	}
	for range w.IntN(16) {
		from = from.Next()
	}
	c.from = netip.AddrPortFrom(from, 1024+w.ports)
	return c
}

// begin sends the first packet of a connection.
func (w *kernelWire) begin(c *caller) {
	c.talk, c.home, c.writes = talkBegun, netip.AddrPort{}, w.writes
	if to := w.send(c, testlab.SYN); c.protocol == model.TCP && !w.takesFlows(c.service, to) {
		fatalf(w.t, "a connection to service %d begins with %s, which has no slot", c.service, to)
	}
}

// goOn sends another packet of a connection, or begins one with the ports of a
// dead one.
func (w *kernelWire) goOn(c *caller) {
	kind := w.IntN(20)
	switch {
	case w.forgotten(c) && kind < 10:
		w.begin(c)
	case c.protocol == model.UDP || kind < 16:
		w.send(c, testlab.ACK)
	case kind < 17:
		w.send(c, testlab.FIN|testlab.ACK)
	case kind < 18:
		w.send(c, testlab.RST)
	case c.talk == talkBegun && c.reset.IsZero():
		if c.writes != w.writes || w.writing() {
			c.home = netip.AddrPort{} // a SYN that is sent again moves with its slot
		}
		w.send(c, testlab.SYN)
	}
}

// send sends a packet, and checks where it goes.
func (w *kernelWire) send(c *caller, flags testlab.TCPFlags) (to netip.AddrPort) {
	stays := c.home.IsValid() && w.live(c) && w.homeServes(c)
	to = w.route(c, flags)
	w.packets++
	c.at = w.at
	c.say("%v goes to %v", flags, to)
	switch now := w.clock(); {
	case flags == testlab.RST && c.protocol == model.TCP:
		c.reset = now
	case flags == testlab.SYN:
		c.last = now
	default:
		c.last, c.reset, c.talk = now, time.Time{}, max(c.talk, talkOpen)
	}
	if flags&testlab.FIN != 0 {
		c.talk = talkClosing
	}
	if stays && to != c.home {
		fatalf(w.t, "%s: a connection of service %d, %s to %s, moved from %s to %s:\n%s",
			w.services[c.service].Forward, c.service, c.from, c.vip, c.home, to, c.story())
	}
	if known, serves := w.knows(c.service, to); to.IsValid() && (!known || !serves && !w.halfway()) {
		fatalf(w.t, "a packet to service %d goes to %s, which is its backend: %v, and serves: %v:\n%s", c.service, to, known, serves, c.story())
	}
	switch {
	case w.loose(c.service):
	case c.reset.IsZero():
		c.home = to
	case to != c.home:
		c.home = netip.AddrPort{} // resets are not recorded
	}
	return to
}

// takesFlows says whether a backend has a slot.
func (w *kernelWire) takesFlows(service int, backend netip.AddrPort) bool {
	for _, c := range []maps.Contents{w.before, w.after} {
		number := w.number(service, c)
		for table, t := range c.Tables {
			if table != number && c.Subsets[table].Service != number {
				continue
			}
			for _, id := range t.Present {
				if c.Backends[id].Address == backend { // none is the address of number 0
					return true
				}
			}
		}
	}
	return false
}

// knows says whether a service has a backend, and whether that serves.
func (w *kernelWire) knows(service int, backend netip.AddrPort) (known, serves bool) {
	for _, c := range []maps.Contents{w.before, w.after} {
		id := w.number(service, c)
		for _, b := range c.Backends {
			if b.Service == id && b.Address == backend {
				known, serves = true, serves || b.Serves
			}
		}
	}
	return known, serves
}

// route is where the program sends a packet; invalid if it drops it.
func (w *kernelWire) route(c *caller, flags testlab.TCPFlags) netip.AddrPort {
	link := testlab.Ethernet{Dst: ownMAC, Src: testlab.MAC{2, 0, 0, 0, 254, 254}}
	frame := testlab.TCPPacket(link, c.from, c.vip, flags, "word")
	if c.protocol == model.UDP {
		frame = testlab.UDPPacket(link, c.from, c.vip, "word")
	}
	out, err := w.run(frame, w.IntN(2) == 0)
	if err != nil {
		fatalf(w.t, "%v", err)
	}
	if out == nil {
		return netip.AddrPort{}
	}
	to, err := receiver(out, w.services[c.service].Forward.Tunnels())
	if err != nil {
		fatalf(w.t, "%v", err)
	}
	return to
}

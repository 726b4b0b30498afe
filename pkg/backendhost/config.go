package backendhost

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The modes that need anything of a backend.
const (
	L2DSR = "l2dsr"
	IPIP  = "ipip"
	GUE   = "gue"
)

// Where a decapsulation program runs.
const (
	HookAuto = "auto"
	HookXDP  = "xdp"
	HookTC   = "tc"
)

// What becomes of the TCP segment size, unless it is a number.
const (
	MSSAuto = "auto"
	MSSOff  = "off"
)

// DefaultGUEPort is the UDP port that IANA gave to GUE.
const DefaultGUEPort = 6080

// The smallest segment size that every host must take, and the largest that
// fits into a packet.
const (
	leastMSS = 536
	mostMSS  = 65495
)

// Config is what a server is to be prepared for.
type Config struct {
	// VIPs are held by lo.
	VIPs []netip.Addr `json:"vips"`
	// Forward is [L2DSR], [IPIP] or [GUE].
	Forward string `json:"forward"`
	// From are the outer sources that tunnels are accepted from; tunnels only.
	From []netip.Prefix `json:"from,omitempty"`
	// Interface is where the balancer's packets arrive; empty: where the route
	// to the first balancer, or else the default route, leads.
	Interface string `json:"interface"`
	// GUEPort is the UDP port; 0 unless Forward is GUE.
	GUEPort uint16 `json:"gue_port,omitempty"`
	// Hook is [HookAuto], [HookXDP] or [HookTC]; tunnels only.
	Hook string `json:"hook,omitempty"`
	// MSS is [MSSAuto], [MSSOff] or a number of bytes, 536 to 65495; tunnels
	// only.
	MSS string `json:"mss,omitempty"`
}

// Tunnels says whether packets arrive with outer headers.
func (c *Config) Tunnels() bool { return c.Forward != L2DSR }

// Normalise checks the configuration, fills in what it leaves to choose but the
// interface, and brings it into one order.
func (c *Config) Normalise() error {
	if len(c.VIPs) == 0 {
		return errors.New("there is no VIP")
	}
	for i, v := range c.VIPs {
		v = v.Unmap()
		if !v.IsGlobalUnicast() || v.Zone() != "" {
			return fmt.Errorf("%s cannot be a VIP (want a unicast address that is not link-local)", v)
		}
		c.VIPs[i] = v
	}
	slices.SortFunc(c.VIPs, netip.Addr.Compare)
	c.VIPs = slices.Compact(c.VIPs)
	if !c.Tunnels() {
		return nil
	}
	return c.normaliseTunnel()
}

func (c *Config) normaliseTunnel() error {
	if len(c.From) == 0 {
		return errors.New("a tunnel needs the balancers' addresses: anybody else could send packets under any client's address")
	}
	for i, p := range c.From {
		if p.Addr().Is4In6() {
			return fmt.Errorf("%s is an IPv4 address in IPv6 notation (write it as IPv4)", p)
		}
		c.From[i] = p.Masked()
	}
	slices.SortFunc(c.From, comparePrefix)
	c.From = slices.Compact(c.From)
	if c.Forward == GUE && c.GUEPort == 0 {
		c.GUEPort = DefaultGUEPort
	}
	if c.Hook == "" {
		c.Hook = HookAuto
	}
	if c.MSS == "" {
		c.MSS = MSSAuto
	}
	if c.MSS != MSSAuto && c.MSS != MSSOff {
		n, err := strconv.Atoi(c.MSS)
		if err != nil || n < leastMSS || n > mostMSS {
			return fmt.Errorf("the segment size %q is neither auto nor off nor %d to %d", c.MSS, leastMSS, mostMSS)
		}
		c.MSS = strconv.Itoa(n)
	}
	return nil
}

func comparePrefix(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// Command is the command line that prepares a server so.
func (c *Config) Command(d Dirs) string {
	words := []string{"xlb", "backend-host"}
	for _, v := range c.VIPs {
		words = append(words, "--vip", v.String())
	}
	words = append(words, "--forward", c.Forward)
	for _, p := range c.From {
		text := p.String()
		if p.IsSingleIP() {
			text = p.Addr().String()
		}
		words = append(words, "--from", text)
	}
	words = append(words, "--interface", c.Interface)
	if c.GUEPort != 0 && c.GUEPort != DefaultGUEPort {
		words = append(words, "--gue-port", strconv.Itoa(int(c.GUEPort)))
	}
	for _, f := range []struct{ flag, value, usual string }{
		{"--hook", c.Hook, HookAuto}, {"--mss", c.MSS, MSSAuto},
		{"--state-dir", d.State, DefaultStateDir}, {"--pin-dir", d.Pins, DefaultPinDir},
	} {
		if f.value != "" && f.value != f.usual {
			words = append(words, f.flag, f.value)
		}
	}
	return strings.Join(words, " ")
}

func (c *Config) has(family func(netip.Addr) bool) bool { return slices.ContainsFunc(c.VIPs, family) }

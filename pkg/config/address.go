package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/xlb-io/xlb/pkg/model"
)

// problem is what is wrong with a text and what to write instead; nil if
// nothing is.
type problem struct{ message, hint string }

// textOf is a kind of text that convert understands. With a problem convert
// may still return a value, which then takes part in the search for
// duplicates; a value that cannot be used at all is the zero value.
func textOf[V comparable](name, limits, pattern string, convert func(string) (V, *problem)) kind[V] {
	return kind[V]{
		shape: shape{name: name, limits: limits, json: map[string]any{"type": "string", "pattern": pattern}},
		parse: func(r *reader, n ast.Node) (V, bool) {
			var zero V
			s, ok := wantText(r, n, name)
			if !ok {
				return zero, false
			}
			v, p := convert(s)
			if p != nil {
				r.wrong(n, p.message, p.hint)
			}
			return v, v != zero
		},
	}
}

var (
	addressKind = textOf("IP address", "unicast IPv4 or IPv6", `^[0-9A-Fa-f.:]+$`,
		func(s string) (netip.Addr, *problem) { return address(s, s) })

	tunnelSourceKind = textOf("tunnel source", "IP address or prefix; IPv4 /8 to /31, IPv6 /8 to /127", `^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$`, tunnelSource)

	frontendKind = textOf("frontend", "`tcp://VIP:port` or `udp://VIP:port`; IPv6 in brackets", `^(tcp|udp)://([0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$`, frontend)

	// A backend's port may be absent: 0.
	backendAddressKind = textOf("backend address", "`address`, `address:port` or `[IPv6]:port`", `^([0-9A-Fa-f.:]+|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?)$`,
		func(s string) (netip.AddrPort, *problem) { return addrPort(s) })

	portRangeKind = textOf("port range", "`first-last`, 1 to 65535", `^[0-9]{1,5}-[0-9]{1,5}$`, portRange)

	macKind = textOf("MAC address", "unicast, six pairs of hex digits with colons", `^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$`, mac)
)

// address parses text, a part of the value whole.
func address(text, whole string) (netip.Addr, *problem) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		hint := "for example 192.0.2.1 or 2001:db8::1; names are not looked up"
		if strings.Contains(text, "/") {
			hint = "an address alone, without a prefix length"
		}
		return netip.Addr{}, &problem{fmt.Sprintf("%s is not an IP address", quote(text)), hint}
	}
	refuse := func(reason, hint string) *problem {
		return &problem{fmt.Sprintf("%s is %s", whole, reason), hint}
	}
	switch plain := a.Unmap().WithZone(""); {
	case a.Is4In6():
		return plain, refuse("an IPv4-mapped IPv6 address, which never appears in a packet", "write "+plain.String())
	case plain.IsUnspecified():
		return netip.Addr{}, refuse("the unspecified address, which nothing can be sent to", "give one address")
	case plain == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return netip.Addr{}, refuse("the broadcast address, not that of one host", "give a unicast address")
	case plain.IsMulticast():
		return netip.Addr{}, refuse("a multicast address, not that of one host", "give a unicast address")
	case plain.IsLoopback():
		return netip.Addr{}, refuse("a loopback address, which never leaves its host", "give an address that other hosts can reach")
	case plain.IsLinkLocalUnicast():
		return netip.Addr{}, refuse("a link-local address, which is valid on one link only", "give a global or private address")
	case a.Zone() != "":
		return netip.Addr{}, refuse("an address with a zone, which is valid on this host only", "remove %"+a.Zone())
	}
	return a, nil
}

// port parses a port of the value whole.
func port(text, whole string) (uint16, *problem) {
	v, err := strconv.ParseUint(text, 10, 32)
	switch {
	case err != nil && !digits.MatchString(text):
		return 0, &problem{fmt.Sprintf("%s: port %s is not a number", whole, quote(text)), "1 to 65535"}
	case err != nil || v < 1 || v > 65535:
		return 0, &problem{fmt.Sprintf("%s: port %s is out of range", whole, text), "1 to 65535"}
	}
	return uint16(v), nil
}

var digits = regexp.MustCompile(`^[0-9]+$`)

// addrPort parses an address with or without a port; none is 0.
func addrPort(whole string) (netip.AddrPort, *problem) {
	host, portText, hasPort := whole, "", false
	if rest, ok := strings.CutPrefix(whole, "["); ok {
		inner, after, closed := strings.Cut(rest, "]")
		if !closed || (after != "" && after[0] != ':') {
			return netip.AddrPort{}, &problem{fmt.Sprintf("%s is not an address", quote(whole)), "with a port, IPv6 is written [2001:db8::1]:80"}
		}
		host, hasPort = inner, after != ""
		if hasPort {
			portText = after[1:]
		}
		if strings.Contains(host, ".") && !strings.Contains(host, ":") {
			return netip.AddrPort{}, &problem{fmt.Sprintf("%s is not an address", quote(whole)), "brackets are for IPv6 only"}
		}
	} else if strings.Count(whole, ":") == 1 {
		host, portText, hasPort = strings.Cut(whole, ":")
	}
	a, p := address(host, whole)
	if !hasPort || !a.IsValid() {
		return netip.AddrPortFrom(a, 0), p
	}
	n, pp := port(portText, whole)
	if pp != nil {
		return netip.AddrPort{}, pp
	}
	return netip.AddrPortFrom(a, n), p
}

func frontend(s string) (model.Frontend, *problem) {
	const form = "for example tcp://203.0.113.10:80 or udp://[2001:db8::10]:53"
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return model.Frontend{}, &problem{fmt.Sprintf("frontend %s has no protocol", quote(s)), form}
	}
	var proto model.Protocol
	if err := proto.UnmarshalText([]byte(scheme)); err != nil {
		return model.Frontend{}, &problem{err.Error(), form}
	}
	if strings.Count(rest, ":") > 1 && !strings.HasPrefix(rest, "[") {
		return model.Frontend{}, &problem{fmt.Sprintf("%s: an IPv6 address before a port needs brackets", quote(s)), form}
	}
	ap, p := addrPort(rest)
	if !ap.Addr().IsValid() {
		return model.Frontend{}, p
	}
	if ap.Port() == 0 && p == nil {
		return model.Frontend{}, &problem{fmt.Sprintf("frontend %s has no port", quote(s)), form}
	}
	return model.Frontend{VIP: ap.Addr(), Port: ap.Port(), Protocol: proto}, p
}

// tunnelSource returns an address alone as the prefix of its full length.
func tunnelSource(s string) (netip.Prefix, *problem) {
	host, text, isPrefix := strings.Cut(s, "/")
	a, p := address(host, s)
	if p != nil {
		return netip.Prefix{}, p
	}
	if !isPrefix {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	const shortest = 8
	limits := fmt.Sprintf("%d to %d for %s; for one address leave it out", shortest, a.BitLen()-1, family(a))
	length, err := strconv.Atoi(text)
	switch {
	case !digits.MatchString(text):
		return netip.Prefix{}, &problem{fmt.Sprintf("%s: prefix length %s is not a number", s, quote(text)), limits}
	case err != nil || length < shortest || length >= a.BitLen():
		return netip.Prefix{}, &problem{fmt.Sprintf("%s: prefix length %s is out of range", s, text), limits}
	}
	prefix := netip.PrefixFrom(a, length)
	if prefix.Masked() != prefix {
		return netip.Prefix{}, &problem{s + " has bits set behind its prefix, which the flow fills", "write " + prefix.Masked().String()}
	}
	return prefix, nil
}

func portRange(s string) (model.PortRange, *problem) {
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		return model.PortRange{}, &problem{fmt.Sprintf("%s is not a range of ports", quote(s)), "for example 1024-32767"}
	}
	a, p := port(first, s)
	if p != nil {
		return model.PortRange{}, p
	}
	b, p := port(last, s)
	if p != nil {
		return model.PortRange{}, p
	}
	if a > b {
		return model.PortRange{}, &problem{fmt.Sprintf("%s ends before it starts", s), fmt.Sprintf("write %d-%d", b, a)}
	}
	return model.PortRange{First: a, Last: b}, nil
}

var macExp = regexp.MustCompile(`^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$`)

func mac(s string) (model.HardwareAddr, *problem) {
	if !macExp.MatchString(s) {
		return model.HardwareAddr{}, &problem{fmt.Sprintf("%s is not a MAC address", quote(s)), "for example 02:00:00:00:00:01"}
	}
	var h model.HardwareAddr
	for i, pair := range strings.Split(s, ":") {
		b, err := strconv.ParseUint(pair, 16, 8)
		if err != nil {
			panic(err) // macExp admits hex pairs only
		}
		h[i] = byte(b)
	}
	if h == (model.HardwareAddr{}) || h[0]&1 == 1 {
		return model.HardwareAddr{}, &problem{fmt.Sprintf("%s is not the address of one station", s), "give the unicast MAC address of the gateway"}
	}
	return h, nil
}

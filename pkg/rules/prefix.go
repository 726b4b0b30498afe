package rules

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// looks is the form of an address or a prefix, right or wrong. What is written
// otherwise is a file's name.
var looks = regexp.MustCompile(`^[0-9A-Fa-f]*[.:][0-9A-Fa-f.:]*(/[0-9]*)?$`)

// LooksLikePrefix says whether text is meant as an address or a prefix.
func LooksLikePrefix(text string) bool { return looks.MatchString(text) }

// ParsePrefix reads a prefix, or an address as that of its full length. Bits
// behind the prefix must be zero: whoever sets one means another network.
func ParsePrefix(text string) (netip.Prefix, error) {
	var p netip.Prefix
	var err error
	if strings.Contains(text, "/") {
		p, err = netip.ParsePrefix(text)
	} else {
		var a netip.Addr
		if a, err = netip.ParseAddr(text); err == nil && a.Zone() == "" {
			p = netip.PrefixFrom(a, a.BitLen())
		}
	}
	switch {
	case err != nil || !p.IsValid():
		return netip.Prefix{}, fmt.Errorf("%q is no address and no prefix (for example 192.0.2.0/24 or 2001:db8::/32)", shorten(text))
	case p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%s is IPv4 in an IPv6 address, which no packet has (write it as IPv4)", p)
	case p.Masked() != p:
		return netip.Prefix{}, fmt.Errorf("%s has bits set behind its prefix (the network is %s)", p, p.Masked())
	}
	return p, nil
}

// shorten keeps a message readable whatever the file is.
func shorten(text string) string {
	if len(text) > 60 {
		return text[:60] + "…"
	}
	return text
}

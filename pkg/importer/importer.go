package importer

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// Options are what a file cannot say.
type Options struct {
	// Interfaces are where traffic enters.
	Interfaces []string
	// VIPs take the place of listeners for any address, those of its family.
	VIPs []netip.Addr
}

// Note is something without counterpart.
type Note struct {
	File string `json:"file"`
	Line int    `json:"line"`
	// What is the setting as it is written; Why is why there is nothing for it, and
	// what to do.
	What string `json:"what"`
	Why  string `json:"why"`
	// LeftOut: without it the service would be another, so there is none.
	LeftOut bool `json:"left_out,omitempty"`
}

func (n Note) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", n.File, n.Line, n.What, n.Why)
}

// visible is a text with its control characters as escapes.
func visible(s string) string {
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// escaped is a text as send: and expect: of a probe take it.
func escaped(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\\':
			b.WriteString(`\\`)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unreachable says why packets cannot go to an address; empty if they can.
func unreachable(a netip.Addr) string {
	switch a = a.Unmap(); {
	case a.IsLoopback():
		return "a loopback address never leaves its host"
	case a.IsLinkLocalUnicast() || a.Zone() != "":
		return "a link-local address is valid on one link only"
	case a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "it is not the address of one host"
	}
	return ""
}

const whyNoPeers = "balancers do not tell each other of clients and connections; with schedule: maglev or source-hash all choose alike"

// portOf reads a port; 0 is none.
func portOf(s string) int {
	p, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0
	}
	return int(p)
}

// isName says whether a text can be the name of a host.
func isName(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return false
	}
	return s != "" && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-._") == ""
}

// Error is a mistake in the file, or something only the caller can decide.
type Error struct {
	File string
	Line int
	Text string
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text) }

// place is where something stands in a file.
type place struct {
	file string
	line int
}

func (p place) errorf(format string, args ...any) error {
	return &Error{File: p.file, Line: p.line, Text: fmt.Sprintf(format, args...)}
}

// work is one import under way.
type work struct {
	Options
	result Result
	names  map[string]listener // of services, with their first frontend
	fronts map[string]string   // frontends, and whose they are
	noted  map[string]bool
}

func newWork(o Options) *work {
	return &work{Options: o, names: map[string]listener{}, fronts: map[string]string{}, noted: map[string]bool{}}
}

// note says once that what stands at a place has no counterpart.
func (w *work) note(at place, what, why string, args ...any) {
	w.keep(Note{File: filepath.Base(at.file), Line: at.line, What: visible(what), Why: fmt.Sprintf(why, args...)})
}

// leaveOut notes why a service is not imported.
func (w *work) leaveOut(at place, what, why string, args ...any) {
	w.keep(Note{File: filepath.Base(at.file), Line: at.line, What: visible(what), Why: fmt.Sprintf(why, args...) + "; the service is left out", LeftOut: true})
}

func (w *work) keep(n Note) {
	if text := n.String(); !w.noted[text] {
		w.noted[text] = true
		w.result.Notes = append(w.result.Notes, n)
	}
}

// vips are the addresses that a listener stands for. Any, of either family or of
// both, stands for those given as options.
func (w *work) vips(at place, what string, address netip.Addr, v4, v6 bool) ([]netip.Addr, error) {
	if address.IsValid() && !address.IsUnspecified() {
		return []netip.Addr{address.Unmap()}, nil
	}
	var out []netip.Addr
	for _, vip := range w.VIPs {
		if vip.Is4() && v4 || vip.Is6() && v6 {
			out = append(out, vip)
		}
	}
	if len(out) == 0 {
		family := "an"
		switch {
		case v4 && !v6:
			family = "an IPv4"
		case v6 && !v4:
			family = "an IPv6"
		}
		return nil, at.errorf("%s listens on any address, and xlb needs to know which: give %s address with --vip", what, family)
	}
	return out, nil
}

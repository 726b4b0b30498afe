package loader

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/bpf"
)

// ProbeMark is the mark (SO_MARK) of a socket whose packets go to the backend with
// a number, 1 to 1048575, as clients' do; see [Loader.RouteProbes].
func ProbeMark(number uint32) uint32 { return bpf.ProbeMark | number&bpf.ProbeBackend }

// Where the rule for the mark stands (after the local table, before main) and
// the table that it names.
const (
	probePriority = 7860
	probeTable    = 7860
)

// What lets the replies of backends in, whose source is the VIP: no route leads
// back to it by the interface that they come in by, and it may be an address of
// this host. IPv6 does not look at either.
var (
	looseFilter = sysctl{short: "v4rpfilter", key: "net/ipv4/conf/%s/rp_filter", value: "2"}
	acceptLocal = sysctl{short: "v4acceptlocal", key: "net/ipv4/conf/%s/accept_local", value: "1"}
	returning   = []sysctl{looseFilter, acceptLocal}
)

// RouteProbes makes packets of this host that have a [ProbeMark] leave to the
// backend that it names in the way of a client's packets: a rule and a route lead
// them through lo, where a TC program takes them. It also lets the replies from
// the VIPs in. Without VIPs it removes all of this, an earlier run's too. It may
// be repeated, and does only what is missing.
func (l *Loader) RouteProbes(vips []netip.Addr) error {
	if len(vips) == 0 {
		return l.endProbes()
	}
	// The program first: without it the packets would come back to this host.
	if err := l.attachProbes(); err != nil {
		return err
	}
	if err := l.admitReplies(vips); err != nil {
		return err
	}
	for _, f := range probeFamilies {
		set := f.remove
		if slices.ContainsFunc(vips, func(a netip.Addr) bool { return a.Is4() == f.is4 }) {
			set = f.add
		}
		if _, err := set(); err != nil {
			return err
		}
	}
	return nil
}

func (l *Loader) attachProbes() error {
	if l.probing {
		return nil
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("interface lo: %w", err)
	}
	first, err := netlink.LinkByName(l.options.Settings.Interfaces[0])
	if err != nil {
		return fmt.Errorf("interface %q: %w (see `ip link`)", l.options.Settings.Interfaces[0], err)
	}
	p := &programLoader{set: l.maps, settings: l.options.Settings, probe: first.Attrs()}
	defer p.programs.Close()
	hook, err := l.attachTC(lo, p, partProbe, tcEgress)
	if err != nil {
		return fmt.Errorf("attach to interface lo: %w", err)
	}
	l.probing = true
	l.options.Log.Info("probes go via the VIP: attached", "interface", "lo", "hook", hook)
	return nil
}

func (l *Loader) endProbes() error {
	if _, err := removeProbeRoutes(); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("interface lo: %w", err)
	}
	if err := errors.Join(l.detachKind(lo, kindProbe), removeFilter(lo, tcEgress)); err != nil {
		return err
	}
	l.probing = false
	_, err = restoreSysctls(l.pins.restore(), returning)
	return err
}

// admitReplies sets what is in the replies' way, and sets back what no longer
// need be.
func (l *Loader) admitReplies(vips []netip.Addr) error {
	local := l.LocalAddresses()
	here := slices.ContainsFunc(vips, func(a netip.Addr) bool { return a.Is4() && local[a] != "" })
	if !here {
		if _, err := restoreSysctls(l.pins.restore(), []sysctl{acceptLocal}); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(vips, netip.Addr.Is4) {
		_, err := restoreSysctls(l.pins.restore(), []sysctl{looseFilter})
		return err
	}
	for _, iface := range l.options.Settings.Interfaces {
		filters, err := l.loosen(iface)
		if err != nil {
			return err
		}
		if filters {
			l.warnOfNoRoute(iface, vips)
		}
		if !here {
			continue
		}
		old, err := readSysctl(sysctlPath(acceptLocal.key, iface))
		if err == nil && old != acceptLocal.value {
			err = l.setSysctl(iface, acceptLocal, old, "replies to probes")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// loosen replaces the strict filter for reverse paths by the loose one, and says
// whether there is any. What counts is the larger of the interface's value and
// that of all.
func (l *Loader) loosen(iface string) (filters bool, err error) {
	own, err := readSysctl(sysctlPath(looseFilter.key, iface))
	if err != nil {
		return false, err
	}
	all, err := readSysctl(sysctlPath(looseFilter.key, "all"))
	if err != nil {
		return false, err
	}
	switch max(own, all) {
	case "0":
		return false, nil
	case "1":
		return true, l.setSysctl(iface, looseFilter, own, "replies to probes")
	}
	return true, nil
}

// warnOfNoRoute tells of VIPs whose replies even the loose filter drops.
func (l *Loader) warnOfNoRoute(iface string, vips []netip.Addr) {
	for _, a := range vips {
		if !a.Is4() {
			continue
		}
		if _, err := netlink.RouteGet(a.AsSlice()); err != nil {
			l.options.Log.Warn("no route to the VIP: rp_filter drops what comes from there, the answers to probes too (add a route, by whatever interface, or set rp_filter to 0 for all and for the interface)", "vip", a, "interface", iface, "error", err)
		}
	}
}

// probeFamily is what differs between IPv4 and IPv6 in routes.
type probeFamily struct {
	is4    bool
	name   string
	family int
	// kind of the route. IPv6 makes a unicast route through lo one that refuses.
	kind, bits int
}

var probeFamilies = []probeFamily{
	{true, "IPv4", unix.AF_INET, unix.RTN_UNICAST, 32},
	{false, "IPv6", unix.AF_INET6, unix.RTN_LOCAL, 128},
}

func (f probeFamily) rule() *netlink.Rule {
	mask := ^uint32(bpf.ProbeBackend)
	r := netlink.NewRule()
	r.Family, r.Priority, r.Table, r.Mark, r.Mask = f.family, probePriority, probeTable, bpf.ProbeMark, &mask
	return r
}

// route leads everything through lo, which needs no neighbours.
func (f probeFamily) route(lo int) *netlink.Route {
	scope := netlink.SCOPE_UNIVERSE
	if f.is4 {
		scope = netlink.SCOPE_LINK
	}
	return &netlink.Route{
		Family: f.family, Type: f.kind, Table: probeTable, Scope: scope, LinkIndex: lo,
		Dst: &net.IPNet{IP: make(net.IP, f.bits/8), Mask: net.CIDRMask(0, f.bits)},
	}
}

func (f probeFamily) add() (added []string, err error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("interface lo: %w", err)
	}
	if err := netlink.RouteReplace(f.route(lo.Attrs().Index)); err != nil {
		return nil, fmt.Errorf("add %s route through lo to table %d: %w (is lo up?)", f.name, probeTable, err)
	}
	if err := netlink.RuleAdd(f.rule()); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("add %s rule for the mark of probes: %w", f.name, err)
	}
	return nil, nil
}

func (f probeFamily) remove() (removed []string, err error) {
	rules, err := netlink.RuleListFiltered(f.family, f.rule(), netlink.RT_FILTER_PRIORITY|netlink.RT_FILTER_TABLE|netlink.RT_FILTER_MARK|netlink.RT_FILTER_MASK)
	if err != nil {
		return nil, nil // a kernel without this family or without rules has none of ours
	}
	for range rules {
		if err := netlink.RuleDel(f.rule()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return removed, fmt.Errorf("remove %s rule for the mark of probes: %w", f.name, err)
		}
		removed = append(removed, f.name+" rule for the mark of probes")
	}
	routes, err := netlink.RouteListFiltered(f.family, &netlink.Route{Table: probeTable}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return removed, fmt.Errorf("list %s routes of table %d: %w", f.name, probeTable, err)
	}
	for _, r := range routes {
		if r.Dst != nil && r.Dst.IP != nil && !r.Dst.IP.IsUnspecified() {
			continue // somebody else's
		}
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return removed, fmt.Errorf("remove %s route of table %d: %w", f.name, probeTable, err)
		}
		removed = append(removed, f.name+" route of table "+strconv.Itoa(probeTable))
	}
	return removed, nil
}

// removeProbeRoutes removes rules and routes of both families.
func removeProbeRoutes() (removed []string, err error) {
	for _, f := range probeFamilies {
		done, err := f.remove()
		removed = append(removed, done...)
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/xlb-io/xlb/pkg/model"
)

// The largest table size is the largest prime that keeps a table within 4 MB.
const maxTableSize = 1000003

var (
	interfaceKind = str("interface name", `^\.{0,2}[^./:\s\x00-\x1f\x7f][^/:\s\x00-\x1f\x7f]*$`, 15, "1 to 15 bytes, no `/`, `:` or space")
	nameKind      = str("service name", `^[a-z0-9._-]{1,63}$`, 63, "1 to 63 of `a-z`, `0-9`, `-`, `.`, `_`")
	zoneKind      = str("zone", model.ZonePattern, model.MaxLabel, "1 to 63 bytes, no control characters")
	methodKind    = str("HTTP method", `^[A-Z]{1,16}$`, 16, "upper-case letters")
	pathKind      = str("HTTP path", `^/[!-~]*$`, 2048, "starts with `/`; up to 2048 bytes of ASCII without spaces; may hold a query")
	hostKind      = str("host name", `^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`, 253, "letters, digits, `-`, `.`, `_`; no port")
	bodyKind      = str("text", `^[\s\S]+$`, 4096, "1 to 4096 bytes")
	portKind      = integer[uint16](1, 65535)
	statusKind    = statusRange()
)

var fileKind = needed(object("file", "The file is a mapping of these keys.",
	of("interfaces", listOf(interfaceKind.kind), func(f *rawFile) *opt[[]opt[string]] { return &f.interfaces }, about{
		doc: "Where traffic enters: the interfaces that the data plane is attached to.", example: "[eth0, eth1]", required: true, atStart: true}),
	of("attach", enum(model.AttachAuto, model.AttachNative, model.AttachGeneric, model.AttachTC), func(f *rawFile) *opt[model.AttachMode] { return &f.attach }, about{
		doc: "Kernel hook. `auto` takes the fastest that works: on a network card `native` (XDP in the driver), else `generic` (XDP on socket buffers), else `tc`; on a virtual interface (veth, tap, bridge, VLAN, …) `tc` first, for XDP there makes senders cut and copy every packet. Any other value takes exactly that one or fails.",
		def: settings.Attach, example: "native", atStart: true}),
	of("next_hop", enum(model.NextHopFIB, model.NextHopGatewayMAC), func(f *rawFile) *opt[model.NextHop] { return &f.nextHop }, about{
		doc: "`fib` asks the kernel's routing and neighbour tables, per destination at most every 60 kernel ticks (60 ms to 0.6 s). `gateway-mac` sends every packet out of the interface it came in by, to `gateway_mac`, for balancers with one router.",
		def: settings.NextHop, example: "gateway-mac", atStart: true}),
	of("gateway_mac", macKind, func(f *rawFile) *opt[model.HardwareAddr] { return &f.gatewayMAC }, about{
		doc: "The router's MAC address. Required with `next_hop: gateway-mac`, refused without.", example: "02:00:00:00:00:01", atStart: true}),
	of("sources", listOf(addressKind), func(f *rawFile) *opt[[]opt[netip.Addr]] { return &f.sources }, about{
		doc:    "Addresses that `nat` services use as source towards backends. If given, there must be one of each family that a `nat` service uses.",
		defDoc: "per family, the address the kernel would use towards the first backend", example: "[192.0.2.1, 2001:db8::1]"}),
	of("tunnel_sources", listOf(tunnelSourceKind), func(f *rawFile) *opt[[]opt[netip.Prefix]] { return &f.tunnelSources }, about{
		doc:    "Outer source addresses of `ipip` and `gue`, at most one per family. Of a prefix the flow fills the host bits (of IPv6 the last 32 at most), so that the network cards of backends spread flows over their queues by the outer header; with `gue` the UDP source port does that anyway. Backends must accept the whole prefix as source. If given, there must be one of each family that a tunnelled backend has.",
		defDoc: "per family, the address the kernel would use towards the first tunnelled backend", example: `[192.0.2.1, "fd00:1::/64"]`}),
	of("gue_port", portKind, func(f *rawFile) *opt[uint16] { return &f.guePort }, about{
		doc: "The UDP port at which backends take `gue` packets.", def: int(settings.GUEPort), example: "6081"}),
	of("nat_ports", portRangeKind, func(f *rawFile) *opt[model.PortRange] { return &f.natPorts }, about{
		doc: "Source ports for `nat`. More ports allow more flows per source and backend. Keep it apart from `net.ipv4.ip_local_port_range` if a source is an address of this host.",
		def: "1024-32767", example: "1024-65535", atStart: true}),
	of("flow_table_size", integer(1024, 1<<26), func(f *rawFile) *opt[int] { return &f.flowTableSize }, about{
		doc: "Flows remembered, both directions together; rounded up to a power of two. 80 bytes of kernel memory each. When it is full the flow unused longest is forgotten.",
		def: settings.FlowTableSize, example: "4194304", atStart: true}),
	of("table_size", integer(3, maxTableSize), func(f *rawFile) *opt[int] { return &f.tableSize }, about{
		doc: "Slots of each service's lookup table, a prime; 4 bytes each. At least 100 times the number of a service's backends keeps shares within 1 % of the weights.",
		def: settings.TableSize, example: "262147", atStart: true}),
	of("affinity_table_size", integer(64, 1<<24), func(f *rawFile) *opt[int] { return &f.affinityTable }, about{
		doc: "Clients remembered for the `affinity` of services; some 120 bytes of kernel memory each. When it is full those are forgotten whose last new flow is longest ago.",
		def: settings.AffinityTableSize, example: "1048576", atStart: true}),
	of("max_services", integer(1, 65536), func(f *rawFile) *opt[int] { return &f.maxServices }, about{
		doc: "Room for services in the kernel's maps.", def: settings.MaxServices, example: "256", atStart: true}),
	of("max_frontends", integer(1, 1<<20), func(f *rawFile) *opt[int] { return &f.maxFrontends }, about{
		doc: "Room for frontends of all services. The backends of `dnat` services count too, once per address, port and protocol.", def: settings.MaxFrontends, example: "1024", atStart: true}),
	of("max_backends", integer(1, 1<<20), func(f *rawFile) *opt[int] { return &f.maxBackends }, about{
		doc: "Room for backends of all services; one address and port that serves several services counts for each.", def: settings.MaxBackends, example: "65536", atStart: true}),
	of("max_sources", integer(1, 1024), func(f *rawFile) *opt[int] { return &f.maxSources }, about{
		doc: "Room for `sources`.", def: settings.MaxSources, example: "8", atStart: true}),
	of("policy_rate", integer(1, 900_000), func(f *rawFile) *opt[int] { return &f.policyRate }, about{
		doc: "New flows a second, of each service with policies, that these are asked about; `on_overload` says what becomes of the rest. Counted in windows of 67 ms.", def: settings.PolicyRate, example: "50000"}),
	of("policy_rate_per_source", integer(1, 900_000), func(f *rawFile) *opt[int] { return &f.policySource }, about{
		doc: "The same of one client, an IPv4 address or an IPv6 /64, so that a flood takes nobody else's turn.", def: settings.PolicyRatePerSource, example: "200"}),
	of("zone", zoneKind.kind, func(f *rawFile) *opt[string] { return &f.zone }, about{
		doc: "The zone of this balancer, for services that prefer their own (`zones: {prefer: own}`).", example: "eu-1a"}),
	of("probes", probingKind, func(f *rawFile) *opt[rawProbing] { return &f.probing }, about{
		doc: "How the probes of all services are run: a strategy alone, or a mapping.", def: settings.Probing.Strategy, example: "{strategy: pool, workers: 4096}"}),
	of("policies", mapOf(policyNameKind, policyFileKind), func(f *rawFile) *opt[[]named[rawPolicy]] { return &f.policies }, about{
		doc: "The policies that services can name.", example: "{canary: {path: policies/canary, config: {percent: 5}, subsets: {canary: {tag: canary}}}}"}),
	of("defaults", object("defaults", "What services inherit. A service's own key wins, key by key, also inside `probe` and `timeouts`.", commonFields(func(d *rawCommon) *rawCommon { return d })...),
		func(f *rawFile) *opt[rawCommon] { return &f.defaults }, about{doc: "What services inherit.", example: "{fail: closed}"}),
	of("services", mapOf(nameKind, serviceKind), func(f *rawFile) *opt[[]named[rawService]] { return &f.services }, about{
		doc: "The services by name. May be empty.", example: "{web: {frontends: tcp://203.0.113.10:80, backends: 10.0.0.11}}"}),
))

var serviceKind = needed(object("service", "Frontends that share backends. Keys that are absent are inherited from `defaults`.", append([]field[rawService]{
	of("frontends", listOf(frontendKind), func(s *rawService) *opt[[]opt[model.Frontend]] { return &s.frontends }, about{
		doc:     "Where the service is reached; all of one protocol. No two frontends of the file may be the same.",
		example: `[tcp://203.0.113.10:80, "tcp://[2001:db8::10]:80"]`, required: true}),
	of("backends", listOf(backendKind), func(s *rawService) *opt[[]opt[rawBackend]] { return &s.backends }, about{
		doc: "The servers. Without a port a backend has the frontends' port. The list may be empty.", example: "[10.0.0.11:8080, 10.0.0.12:8080]", required: true, unless: "discover"}),
	of("discover", listOf(sourceKind), func(s *rawService) *opt[[]opt[rawSource]] { return &s.discover }, about{
		doc: "Places where more backends come from, beside those of `backends`; see docs/discovery.md. Of one that several name, the first counts, and `backends` come first.", example: "[{type: dns, name: web.example.com}]"}),
}, commonFields(func(s *rawService) *rawCommon { return &s.common })...)...))

func commonFields[T any](inner func(*T) *rawCommon) []field[T] {
	return within(inner, slices.Concat(basicFields, selectionFields, ruleFields, placementFields, within(func(c *rawCommon) *rawRole { return &c.role }, roleFields...), outcomeFields,
		within(func(c *rawCommon) *rawWatch { return &c.watch }, watchFields...))...)
}

var basicFields = []field[rawCommon]{
	of("forward", enum(model.NAT, model.DNAT, model.L2DSR, model.IPIP, model.GUE), func(c *rawCommon) *opt[model.Forward] { return &c.forward }, about{
		doc: "`nat` rewrites both addresses and ports: replies come back through xlb, backends need no preparation and see xlb's address.\n" +
			"`dnat` rewrites the destination only: backends see the client's address, and xlb must be their gateway, for replies pass it too.\n" +
			"`l2dsr` rewrites MAC addresses only: the backend holds the VIP, is on the same link and answers the client directly.\n" +
			"`ipip` puts an IP header before the packet: the backend may be behind routers, takes the header off, holds the VIP and answers directly; packets grow by 20 bytes (IPv6 40).\n" +
			"`gue` is `ipip` with a UDP header between, so that routers and network cards spread flows; 8 bytes more.\n" +
			"`xlb backend-host` prepares the backends of `l2dsr`, `ipip` and `gue`; see docs/BACKENDS.md.",
		def: model.NAT, example: "l2dsr"}),
	of("track", enum(model.TrackAuto, model.TrackAlways, model.TrackNever), func(c *rawCommon) *opt[model.Track] { return &c.track }, about{
		doc: "Which flows are recorded where replies do not need it (`l2dsr`, `ipip`, `gue`).\n" +
			"`auto`: those that a change of the table could move. A TCP SYN goes to the new backend and what is under way stays; of UDP, unknown flows stay for one `timeouts.udp` with the backend that their slot had before, then they take the new one. While nothing changes it takes no memory and no time, and a SYN flood costs nothing.\n" +
			"`always`: every one, so that flows survive even where a balancer's table is built anew; each packet pays a look-up, and a flood can fill the flow table.\n" +
			"`never`: none; a change moves the flows whose slot changed.\n" +
			"`nat` and `dnat` record every flow: `auto` and `always` are the same there, `never` is refused.",
		def: model.TrackAuto, example: "always"}),
	of("fail", enum(model.FailOpen, model.FailClosed), func(c *rawCommon) *opt[model.FailMode] { return &c.fail }, about{
		doc: "When no backend is usable: `open` uses them all, for a broken probe must not take a working service down; `closed` drops.",
		def: model.FailOpen, example: "closed"}),
	of("policies", listOf(policyUseKind), func(c *rawCommon) *opt[[]opt[rawPolicyUse]] { return &c.policies }, about{
		doc: "Policies in the order in which they are asked about a new flow, until one says something else than continue; those that weigh are asked about the backends' weights in the same order. Each flow is then recorded, as with `track: always`.", example: "[cidr-filter, {policy: canary, mode: shadow}]"}),
	of("on_overload", enum(model.OverloadContinue, model.OverloadDrop), func(c *rawCommon) *opt[model.OnOverload] { return &c.onOverload }, about{
		doc: "What becomes of a new flow that nobody has time to ask the policies about, or while the daemon is away: `continue` goes on without them, `drop` drops the packet.",
		def: model.OverloadContinue, example: "drop"}),
	of("probe", probeKind, func(c *rawCommon) *opt[rawProbe] { return &c.probe }, about{
		doc: "The health check of each backend: a type alone, with a port (`HTTP:8080/health`), or a mapping.", defDoc: "`tcp`; for UDP services `none`", example: "{type: http, path: /health}"}),
	of("timeouts", timeoutsKind, func(c *rawCommon) *opt[rawTimeouts] { return &c.timeouts }, about{
		doc: "How long idle flows are remembered.", example: "{udp: 30s}"}),
}

var backendKind = shorthand(backendAddressKind,
	object("backend", "The long form of a backend. The short form is its address alone.",
		of("address", backendAddressKind, func(b *rawBackend) *opt[netip.AddrPort] { return &b.address }, about{
			doc: "The server's address; it may hold the port too.", example: "10.0.0.12", required: true}),
		of("port", portKind, func(b *rawBackend) *opt[uint16] { return &b.port }, about{
			doc: "The server's port.", defDoc: "the port that all frontends share", example: "8080"}),
		of("weight", integer[uint16](0, 65535), func(b *rawBackend) *opt[uint16] { return &b.weight }, about{
			doc: "Relative share of new flows; with 0 it takes none and keeps those it has.", def: 1, example: "3"}),
		of("zone", zoneKind.kind, func(b *rawBackend) *opt[string] { return &b.zone }, about{
			doc: "A label, for example a rack or a data centre. `zones` spreads over them, `xlb zone` disables one, subsets can name it, and policies see it.", example: "rack-2"}),
		of("tags", listOf(tagKind.kind), func(b *rawBackend) *opt[[]opt[string]] { return &b.tags }, about{
			doc: "Labels. Subsets can name one, and policies see them.", example: "[canary, ssd]"}),
		of("priority", integer[uint16](0, 255), func(b *rawBackend) *opt[uint16] { return &b.priority }, about{
			doc: "Its tier: the lowest that has enough usable backends takes all new flows; `tiers` says how many that is. Without `tiers` one is enough.", def: 0, example: "1"}),
		of("server_id", serverIDKind.kind, func(b *rawBackend) *opt[string] { return &b.serverID }, about{
			doc:    "Only with the service's `quic`: how connection IDs name the server, in hexadecimal digits. As long as `server_id_length`, and unique in the service.",
			defDoc: "the last octets of its address, with zeros before an IPv4 address that is too short", example: "0a00000c"}),
		of("drain", boolean, func(b *rawBackend) *opt[bool] { return &b.drain }, about{
			doc: "No new flows; the old ones stay.", def: false, example: "true"}),
		of("critical", boolean, func(b *rawBackend) *opt[bool] { return &b.critical }, about{
			doc: "While this backend is unhealthy or ejected xlb is not `ready` (`critical_down:SERVICE/BACKEND` in `xlb status`).", def: false, example: "true"}),
	),
	func(a opt[netip.AddrPort]) rawBackend { return rawBackend{address: a} })

var probeKind = shorthand(briefProbeKind,
	object("probe", "The long form of a probe; docs/probes.md has an example of each type. A UDP service is probed only if its own probe names a type, or if its probe has a port.", append([]field[rawProbe]{
		of("type", probeTypeKind, func(p *rawProbe) *opt[model.ProbeType] { return &p.kind }, about{
			doc: "What a probe does; see docs/probes.md. `none` takes every backend as healthy.", defDoc: "`tcp`; for UDP services `none`", example: "http"}),
		of("via", enum(model.ViaDirect, model.ViaVIP), func(p *rawProbe) *opt[model.ProbeVia] { return &p.via }, about{
			doc: "`direct` probes the backend's own address.\n" +
				"`vip` probes the first frontend's VIP on the backend, by the way of the traffic: with `l2dsr` the MAC address alone names the backend, with `ipip` and `gue` the outer header does. So a backend without the VIP, or that does not take the headers off, is down. Not with `nat` and `dnat`, where the backend has no VIP. xlb then has a TC program on `lo` and a routing rule; see docs/BACKENDS.md.",
			def: model.ViaDirect, example: "vip"}),
		of("address", addressKind, func(p *rawProbe) *opt[netip.Addr] { return &p.address }, about{
			doc: "The address to probe, where another host answers for the backends. Not with `via: vip`.", defDoc: "the backend's own", example: "10.0.0.9"}),
		of("port", portKind, func(p *rawProbe) *opt[uint16] { return &p.port }, about{
			doc: "The port to probe.", defDoc: "the backend's own", example: "8081"}),
		of("interval", duration(100*time.Millisecond, time.Hour, time.Millisecond), func(p *rawProbe) *opt[time.Duration] { return &p.interval }, about{
			doc: "Time between the starts of two probes, longer or shorter by the `jitter`.", def: probe.Interval, example: "5s"}),
		of("timeout", duration(10*time.Millisecond, time.Hour, time.Millisecond), func(p *rawProbe) *opt[time.Duration] { return &p.timeout }, about{
			doc: "A probe that takes longer has failed. Not longer than `interval` and `interval_failing`.", defDoc: "`" + model.DurationText(probe.Timeout) + "`, or the shorter of the intervals if that is shorter", example: "500ms"}),
		of("rise", integer(1, 100), func(p *rawProbe) *opt[int] { return &p.rise }, about{
			doc: "Successes in a row that bring a backend up.", def: probe.Rise, example: "1"}),
		of("fall", integer(1, 100), func(p *rawProbe) *opt[int] { return &p.fall }, about{
			doc: "Failures in a row that take a backend down.", def: probe.Fall, example: "5"}),
	}, slices.Concat(
		within(func(p *rawProbe) *rawPace { return &p.pace }, paceFields...),
		within(func(p *rawProbe) *rawCheck { return &p.check }, checkFields()...),
	)...)...),
	func(p opt[rawProbe]) rawProbe { return p.v })

var timeoutKind = duration(time.Second, 168*time.Hour, time.Second)

var timeoutsKind = object("timeouts", "Idle times after which a flow is forgotten.",
	of("tcp_syn", timeoutKind, func(t *rawTimeouts) *opt[time.Duration] { return &t.tcpSyn }, about{
		doc: "Until both sides have spoken and the client has answered.", def: timeouts.TCPSyn, example: "10s"}),
	of("tcp_established", timeoutKind, func(t *rawTimeouts) *opt[time.Duration] { return &t.tcpEstablished }, about{
		doc: "For an open connection. Make it longer than the applications' keep-alive.", def: timeouts.TCPEstablished, example: "2h"}),
	of("tcp_fin", timeoutKind, func(t *rawTimeouts) *opt[time.Duration] { return &t.tcpFin }, about{
		doc: "After one side has sent FIN.", def: timeouts.TCPFin, example: "1m"}),
	of("tcp_closed", timeoutKind, func(t *rawTimeouts) *opt[time.Duration] { return &t.tcpClosed }, about{
		doc: "After both sides have sent FIN, or one a RST.", def: timeouts.TCPClosed, example: "5s"}),
	of("udp", timeoutKind, func(t *rawTimeouts) *opt[time.Duration] { return &t.udp }, about{
		doc: "For UDP.", def: timeouts.UDP, example: "30s"}),
)

// statusRange is one status code, a number, or a range of them, a text.
func statusRange() kind[model.StatusRange] {
	const limits = "100 to 599, or `first-last`"
	code := integer(100, 599)
	span := textOf("HTTP status", limits, `^[1-5][0-9]{2}-[1-5][0-9]{2}$`, func(s string) (model.StatusRange, *problem) {
		a, b, _ := strings.Cut(s, "-")
		first, err1 := strconv.Atoi(a)
		last, err2 := strconv.Atoi(b)
		switch {
		case err1 != nil || err2 != nil || len(a) != 3 || len(b) != 3 || first < 100 || last > 599:
			return model.StatusRange{}, &problem{quote(s) + " is not a range of HTTP status codes", "for example 200 or 200-399"}
		case first > last:
			return model.StatusRange{}, &problem{s + " ends before it starts", "write " + b + "-" + a}
		}
		return model.StatusRange{First: first, Last: last}, nil
	})
	return kind[model.StatusRange]{
		shape: shape{name: "HTTP status", limits: limits, json: map[string]any{"anyOf": []any{code.json, span.json}}},
		parse: func(r *reader, n ast.Node) (model.StatusRange, bool) {
			if _, number := n.(*ast.IntegerNode); !number {
				return span.parse(r, n)
			}
			c, ok := code.parse(r, n)
			return model.StatusRange{First: c, Last: c}, ok
		},
	}
}

package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

type (
	// rawSelection is how the backend of a new flow is chosen, as it is written.
	rawSelection struct {
		schedule  opt[model.Schedule]
		hash      opt[model.HashInput]
		affinity  opt[rawAffinity]
		onePacket opt[bool]
		quic      opt[rawQUIC]
	}
	rawAffinity struct {
		timeout    opt[time.Duration]
		ipv4, ipv6 opt[int]
	}
	rawQUIC struct {
		serverIDLength, configRotation opt[int]
	}
)

var serverIDKind = str("server ID", model.ServerIDPattern, model.MaxServerID, "1 to 15 octets in hexadecimal digits; quote it if all are decimal")

var selectionFields = []field[rawCommon]{
	of("schedule", enum(model.Maglev, model.SourceHash, model.Random, model.RoundRobin, model.LeastConnections, model.LeastLatency),
		func(c *rawCommon) *opt[model.Schedule] { return &c.selection.schedule }, about{
			doc: "How a new flow gets its backend; all follow the weights. See docs/selection.md.\n" +
				"`maglev`: a table, by a hash of the flow: the same on every load balancer, and a change of backends moves few slots.\n" +
				"`source-hash`: the same by the client's address alone.\n" +
				"`random`: drawn.\n" +
				"`round-robin`: in turns, evenly spread.\n" +
				"`least-connections`: of two drawn the one with fewer connections for its weight.\n" +
				"`least-latency`: of two drawn the one that opens connections faster; with `nat` and `dnat` measured from SYN to SYN-ACK, else, and for UDP, by the probe.\n" +
				"Where a backend is drawn every flow is recorded, as with `track: always`.",
			def: model.Maglev, example: "least-connections"}),
	of("hash", enum(model.HashFiveTuple, model.HashSource, model.HashSourceDestination, model.HashDestinationPort),
		func(c *rawCommon) *opt[model.HashInput] { return &c.selection.hash }, about{
			doc: "What `maglev` hashes: addresses, ports and protocol; the client's address; that and the VIP; or the frontend's port alone, so that all clients of a port meet at one backend. " +
				"A change of this key moves connections that are not recorded.",
			def: model.HashFiveTuple, example: "source-destination"}),
	of("affinity", affinityKind, func(c *rawCommon) *opt[rawAffinity] { return &c.selection.affinity }, about{
		doc: "New flows of a client go where its last one went: for how long, or a mapping. Every flow is recorded then.", defDoc: "`0s`, none", example: "10m"}),
	of("ops", boolean, func(c *rawCommon) *opt[bool] { return &c.selection.onePacket }, about{
		doc: "One-packet scheduling, for UDP services with `l2dsr`, `ipip` or `gue`: each datagram gets its backend by itself, and none is recorded. In `defaults` it holds for UDP services.", def: false, example: "true"}),
	of("quic", quicKind, func(c *rawCommon) *opt[rawQUIC] { return &c.selection.quic }, about{
		doc: "For UDP services whose servers put their ID into QUIC connection IDs (draft-ietf-quic-load-balancers, plaintext): a client that changes its address stays with its server. In `defaults` it holds for UDP services.", defDoc: "connection IDs are not looked at", example: "{server_id_length: 4}"}),
}

var affinityKind = shorthand(longKind,
	needed(object("affinity", "The long form of an affinity. The short form is its timeout.",
		of("timeout", longKind, func(a *rawAffinity) *opt[time.Duration] { return &a.timeout }, about{
			doc: "Time since the client's last new flow after which it is forgotten.", example: "10m", required: true}),
		of("ipv4", integer(1, 32), func(a *rawAffinity) *opt[int] { return &a.ipv4 }, about{
			doc: "Bits of an IPv4 address that are one client.", def: 32, example: "24"}),
		of("ipv6", integer(1, 128), func(a *rawAffinity) *opt[int] { return &a.ipv6 }, about{
			doc: "Bits of an IPv6 address that are one client.", def: 64, example: "56"}),
	)),
	func(t opt[time.Duration]) rawAffinity { return rawAffinity{timeout: t} })

var quicKind = needed(object("quic", "How the servers' connection IDs look.",
	of("server_id_length", integer(1, 15), func(q *rawQUIC) *opt[int] { return &q.serverIDLength }, about{
		doc: "Octets of a server's ID. The longer, the rarer does an ID that a client chose by chance name a server.", example: "4", required: true}),
	of("config_rotation", integer(0, 6), func(q *rawQUIC) *opt[int] { return &q.configRotation }, about{
		doc: "The upper three bits of a connection ID's first octet. IDs with others go by the table.", def: 0, example: "1"}),
))

// serviceSelection is how the backend of a new flow is chosen.
func (w *world) serviceSelection(at place, s *model.Service, raw *rawService) model.Selection {
	own, inherited := &raw.common.selection, &w.defaults.selection
	udp := len(s.Frontends) > 0 && s.Frontends[0].Protocol == model.UDP
	out := model.Selection{
		Schedule: own.schedule.or(inherited.schedule).orValue(model.Maglev),
		Hash:     own.hash.or(inherited.hash).orValue(model.HashFiveTuple),
	}
	if a := own.affinity.or(inherited.affinity); a.ok && a.v.timeout.v > 0 {
		out.Affinity = model.Affinity{
			Timeout: a.v.timeout.v, IPv4: uint8(a.v.ipv4.orValue(32)), IPv6: uint8(a.v.ipv6.orValue(64)),
		}
	}
	if q := own.quic.or(inherited.quic); q.ok && q.v.serverIDLength.ok && (udp || own.quic.given) {
		out.QUIC = model.QUIC{ServerIDLength: q.v.serverIDLength.v, ConfigRotation: q.v.configRotation.v}
	}
	out.OnePacket = own.onePacket.or(inherited.onePacket).v && (udp || own.onePacket.given)
	if len(s.Frontends) > 0 && s.Forward != 0 {
		c := selectionCheck{world: w, at: at, s: s, raw: raw, sel: &out, udp: udp}
		c.check()
	}
	return out
}

// selectionCheck refuses what does not go together, by name.
type selectionCheck struct {
	*world
	at  place
	s   *model.Service
	raw *rawService
	sel *model.Selection
	udp bool
}

func (c *selectionCheck) check() {
	own := &c.raw.common.selection
	sel, name := c.sel, c.s.Name
	// refuse points at the key if the service gives it, else at the service.
	refuse := func(key place, given bool, message, hint string) {
		if !given {
			key = c.at
		}
		c.fail(key, message, hint)
	}
	if sel.Schedule != model.Maglev && sel.Hash != model.HashFiveTuple {
		key, hint := own.hash, "remove one of them"
		switch {
		case !own.hash.given && own.schedule.given:
			key.at, key.given, hint = own.schedule.at, true, "set hash: five-tuple here; defaults: has hash"
		case own.hash.given && !own.schedule.given:
			hint = "set schedule: maglev here; defaults: has schedule"
		}
		refuse(key.at, key.given, fmt.Sprintf("service %q: hash: %s has no effect with schedule: %s", name, sel.Hash, sel.Schedule), hint)
	}
	if sel.RecordsAll() && c.s.Track == model.TrackNever {
		key, text := own.schedule, "schedule: "+sel.Schedule.String()
		if !sel.Schedule.Draws() {
			refuse(own.affinity.at, own.affinity.given, fmt.Sprintf("service %q: affinity needs a record of every flow: track: never is impossible", name), "remove track or affinity")
		} else {
			refuse(key.at, key.given, fmt.Sprintf("service %q: %s needs a record of every flow: track: never is impossible", name, text), "remove track, or use schedule: maglev")
		}
	}
	if sel.OnePacket {
		c.checkOnePacket(refuse)
	}
	if sel.QUIC.ServerIDLength > 0 {
		if !c.udp {
			refuse(own.quic.at, own.quic.given, fmt.Sprintf("service %q is TCP, and QUIC is UDP", name), "remove quic, or use udp:// frontends")
		}
		if sel.OnePacket {
			refuse(own.quic.at, own.quic.given, fmt.Sprintf("service %q: a QUIC connection is more than one packet: ops and quic exclude each other", name), "remove one of them")
		}
	}
	if sel.Schedule == model.LeastLatency {
		c.checkLatency(refuse)
	}
	c.checkServerIDs()
}

// checkOnePacket refuses what a flow of one packet cannot have.
func (c *selectionCheck) checkOnePacket(refuse func(place, bool, string, string)) {
	own, name := &c.raw.common.selection, c.s.Name
	say := func(message, hint string) { refuse(own.onePacket.at, own.onePacket.given, message, hint) }
	switch {
	case !c.udp:
		say(fmt.Sprintf("service %q is TCP, whose packets belong together: ops is for UDP", name), "remove ops")
	case c.s.Forward.RewritesPorts():
		say(fmt.Sprintf("service %q forwards by %s, which records every flow, for replies need it: ops is impossible", name, c.s.Forward), "remove ops, or use forward: l2dsr, ipip or gue")
	case c.s.Track == model.TrackAlways:
		say(fmt.Sprintf("service %q: ops records nothing, and track: always everything", name), "remove one of them")
	case c.sel.Affinity.Timeout > 0:
		say(fmt.Sprintf("service %q: affinity needs a record of every flow, and ops has none", name), "remove one of them")
	case len(c.s.Policies) > 0:
		say(fmt.Sprintf("service %q: policies need a record of every flow, and ops has none", name), "remove one of them")
	case c.sel.Schedule == model.LeastConnections:
		say(fmt.Sprintf("service %q: least-connections counts recorded flows, and ops has none", name), "use another schedule, or remove ops")
	}
}

// checkLatency refuses least-latency where nobody measures.
func (c *selectionCheck) checkLatency(refuse func(place, bool, string, string)) {
	measured := c.s.Forward.RewritesPorts() && !c.udp
	if measured || c.probed() {
		return
	}
	own := &c.raw.common.selection
	why := fmt.Sprintf("forward: %s", c.s.Forward)
	if c.udp {
		why = "UDP"
	}
	refuse(own.schedule.at, own.schedule.given, fmt.Sprintf("service %q: with %s only a probe can tell least-latency how fast backends are, and there is none", c.s.Name, why), "give the service a probe, or use another schedule")
}

// probed says whether the service has a probe; see serviceProbe, which reports what
// is wrong with it.
func (c *selectionCheck) probed() bool {
	own, inherited := &c.raw.common.probe, &c.defaults.probe
	if own.given && !own.ok || inherited.given && !inherited.ok {
		return true
	}
	kind := own.v.kind.or(inherited.v.kind).orValue(probe.Type)
	if c.udp && !own.v.kind.given && !own.v.port.or(inherited.v.port).given {
		return false
	}
	return kind != model.ProbeNone
}

// checkServerIDs checks the IDs of the static backends.
func (c *selectionCheck) checkServerIDs() {
	length := c.sel.QUIC.ServerIDLength
	seen := map[string]place{}
	for _, o := range c.raw.backends.v {
		b := o.v
		if !o.ok || !b.address.ok || b.serverID.given && !b.serverID.ok {
			continue
		}
		if length == 0 {
			if b.serverID.given {
				c.fail(b.serverID.at, fmt.Sprintf("server_id has no effect: service %q has no quic", c.s.Name), "add quic: {server_id_length: …}, or remove server_id")
			}
			continue
		}
		at, hint := b.address.at, "give both a server_id"
		if b.serverID.given {
			at, hint = b.serverID.at, "each has its own"
			if n := len(b.serverID.v) / 2; n != length {
				c.fail(at, fmt.Sprintf("server_id %q has %d octets, but server_id_length is %d", b.serverID.v, n, length), "")
				continue
			}
		}
		id := model.Backend{Address: b.address.v, ServerID: strings.ToLower(b.serverID.v)}.QUICServerID(length)
		if first, double := seen[id]; double {
			c.fail(at.apart(first), fmt.Sprintf("a second backend with the server ID %s", id), hint+"; first at "+c.locate(first))
			continue
		}
		seen[id] = at
	}
}

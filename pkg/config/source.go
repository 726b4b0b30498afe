package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/xlb-io/xlb/pkg/model"
)

// sourceType is what a type of source takes beside the keys that all have, and
// how its part of the model is filled.
type sourceType struct {
	keys []string
	// needs are keys with an example of each.
	needs []keyExample
	fill  func(w *world, s *model.Service, raw *rawSource, to *model.Source)
}

type keyExample struct{ key, example string }

// sourceNames are the types there are, in the order in which they are shown.
var sourceNames = []model.SourceType{model.SourceDNS, model.SourceSRV, model.SourceConsul, model.SourceFile, model.SourceEtcd, model.SourceExec}

// sourceTypes are what they take. A new one is a name above, a function and a line
// here; keys that are new are in source_fields.go and in typeKeys.
var sourceTypes = map[model.SourceType]sourceType{
	model.SourceDNS: {
		keys:  []string{"name", "families", "servers", "timeout", "min_ttl", "max_ttl", "port", "weight", "priority"},
		needs: []keyExample{{"name", "web.example.com"}}, fill: (*world).dnsSource,
	},
	model.SourceSRV: {
		keys:  []string{"name", "families", "servers", "timeout", "min_ttl", "max_ttl", "weight", "priority"},
		needs: []keyExample{{"name", "_mqtt._tcp.example.com"}}, fill: (*world).srvSource,
	},
	model.SourceConsul: {
		keys:  []string{"address", "service", "with_tags", "datacenter", "namespace", "partition", "token", "token_file", "zone_meta", "server_id_meta", "wait", "tls", "port", "priority"},
		needs: []keyExample{{"service", "web"}}, fill: (*world).consulSource,
	},
	model.SourceFile: {
		keys:  []string{"path", "port", "weight", "priority"},
		needs: []keyExample{{"path", "/etc/xlb/backends/web.yaml"}}, fill: (*world).fileSource,
	},
	model.SourceEtcd: {
		keys:  []string{"endpoints", "prefix", "username", "password", "password_file", "tls", "port", "weight", "priority"},
		needs: []keyExample{{"endpoints", "http://192.0.2.7:2379"}, {"prefix", "/services/web/"}}, fill: (*world).etcdSource,
	},
	model.SourceExec: {
		keys:  []string{"command", "interval", "timeout", "keep_running", "port", "weight", "priority"},
		needs: []keyExample{{"command", "[/usr/local/bin/web-backends]"}}, fill: (*world).execSource,
	},
}

// serviceSources fills s.Sources.
func (w *world) serviceSources(s *model.Service, raw *rawService, certain bool) {
	names := map[string]place{}
	for _, o := range raw.discover.v {
		if name := o.v.source; o.ok && name.ok {
			if name.v == "static" {
				w.fail(name.at, `a source cannot be called "static"`, "the list under backends is; choose another name")
			} else if first, double := names[name.v]; double {
				w.fail(name.at.apart(first), fmt.Sprintf("duplicate source %q", name.v), "first at "+w.locate(first))
			} else {
				names[name.v] = name.at
			}
		}
	}
	for _, o := range raw.discover.v {
		if !o.ok || !o.v.kind.ok {
			continue
		}
		raw := &o.v
		name := raw.source.orValue(string(raw.kind.v))
		for n := 2; !raw.source.given && names[name] != (place{}); n++ {
			name = fmt.Sprintf("%s-%d", raw.kind.v, n)
		}
		names[name] = o.at
		s.Sources = append(s.Sources, w.source(o.at, s, name, raw, certain))
	}
}

func (w *world) source(at place, s *model.Service, name string, raw *rawSource, certain bool) model.Source {
	kind := sourceTypes[raw.kind.v]
	w.checkSourceKeys(at, raw, kind)
	out := model.Source{
		Name: name, Type: raw.kind.v, StaleFor: raw.staleFor.v,
		OnEmpty: raw.onEmpty.orValue(model.EmptyKeep), Debounce: raw.debounce.orValue(sourceDebounce),
		Backend: model.Backend{
			Weight: raw.weight.orValue(1), Zone: raw.zone.v, Tags: tagsOf(raw.tags.v), Priority: uint8(raw.priority.v),
		},
	}
	if certain {
		out.Backend.Address = netip.AddrPortFrom(netip.Addr{}, w.sourcePort(at, s, raw))
	}
	kind.fill(w, s, raw, &out)
	return out
}

// sourcePort is the port of backends of which the source says none; 0 if it
// must say it.
func (w *world) sourcePort(at place, s *model.Service, raw *rawSource) uint16 {
	shared, one := sharedPort(s.Frontends)
	switch {
	case raw.port.ok && keepsPorts(s) && raw.port.v != shared:
		w.fail(raw.port.at, fmt.Sprintf("port %d is another one than that of frontend %s, and %s cannot rewrite ports", raw.port.v, frontendText(s.Frontends[0]), s.Forward), fmt.Sprintf("use port %d, or forward: nat", shared))
	case raw.port.ok:
		return raw.port.v
	case !one && raw.kind.v == model.SourceDNS && !raw.port.given:
		w.fail(at, "a source of type dns needs port, for the frontends have several", fmt.Sprintf("for example port: %d", s.Frontends[0].Port))
	}
	if one {
		return shared
	}
	return 0
}

// checkSourceKeys refuses keys without effect on the type, and misses those
// that it needs.
func (w *world) checkSourceKeys(at place, raw *rawSource, kind sourceType) {
	present := map[string]bool{}
	for _, k := range raw.typeKeys() {
		present[k.name] = true
		if slices.Contains(kind.keys, k.name) {
			continue
		}
		var of []string
		for _, t := range sourceNames {
			if slices.Contains(sourceTypes[t].keys, k.name) {
				of = append(of, string(t))
			}
		}
		w.fail(k.at, fmt.Sprintf("discover: %s has no effect with type %s", k.name, raw.kind.v), fmt.Sprintf("remove it, or use type: %s", strings.Join(of, ", ")))
	}
	for _, n := range kind.needs {
		if !present[n.key] {
			w.fail(at, fmt.Sprintf("discover: type %s needs %s", raw.kind.v, n.key), fmt.Sprintf("for example %s: %s", n.key, n.example))
		}
	}
}

// typeKeys returns the keys given that not every type takes.
func (s *rawSource) typeKeys() []keyAt {
	return given(
		mark("port", s.port), mark("weight", s.weight), mark("priority", s.priority),
		mark("name", s.name), mark("families", s.families), mark("servers", s.servers), mark("timeout", s.timeout),
		mark("min_ttl", s.minTTL), mark("max_ttl", s.maxTTL),
		mark("address", s.address), mark("service", s.service), mark("with_tags", s.withTags), mark("datacenter", s.datacenter),
		mark("namespace", s.namespace), mark("partition", s.partition), mark("token", s.token), mark("token_file", s.tokenFile),
		mark("zone_meta", s.zoneMeta), mark("server_id_meta", s.serverIDMeta), mark("wait", s.wait), mark("tls", s.tls),
		mark("path", s.path), mark("endpoints", s.endpoints), mark("prefix", s.prefix), mark("username", s.username), mark("password", s.password), mark("password_file", s.passwordFile),
		mark("command", s.command), mark("interval", s.interval), mark("keep_running", s.keepRunning),
	)
}

func (w *world) dnsSource(s *model.Service, raw *rawSource, to *model.Source) {
	to.DNS = model.DNSSource{Name: raw.name.v, Resolvers: w.resolvers(raw)}
	to.DNS.IPv4, to.DNS.IPv6 = w.families(s, raw)
}

func (w *world) srvSource(s *model.Service, raw *rawSource, to *model.Source) {
	to.SRV = model.SRVSource{Name: raw.name.v, Resolvers: w.resolvers(raw)}
	to.SRV.IPv4, to.SRV.IPv6 = w.families(s, raw)
	to.Backend.Address = netip.AddrPort{}
}

func (w *world) resolvers(raw *rawSource) model.Resolvers {
	r := model.Resolvers{Servers: textsOf(raw.servers.v), Timeout: raw.timeout.orValue(dnsTimeout)}
	r.MinTTL = raw.minTTL.orValue(min(minTTL, raw.maxTTL.orValue(minTTL)))
	r.MaxTTL = raw.maxTTL.orValue(max(maxTTL, r.MinTTL))
	if r.MaxTTL < r.MinTTL {
		w.fail(raw.maxTTL.at, fmt.Sprintf("discover: max_ttl %s is shorter than min_ttl %s", model.DurationText(r.MaxTTL), model.DurationText(r.MinTTL)), "swap them")
	}
	return r
}

// families says which addresses are asked for. Where ports are rewritten only
// those of the frontends' family can be used.
func (w *world) families(s *model.Service, raw *rawSource) (four, six bool) {
	for _, f := range s.Frontends {
		four, six = four || f.VIP.Is4(), six || !f.VIP.Is4()
	}
	if !raw.families.given || len(s.Frontends) == 0 {
		return four, six
	}
	own4, own6 := four, six
	four, six = false, false
	for _, o := range raw.families.v {
		if !o.ok {
			continue
		}
		four, six = four || o.v == "ipv4", six || o.v == "ipv6"
		if s.Forward.RewritesPorts() && (o.v == "ipv4" && !own4 || o.v == "ipv6" && !own6) {
			w.fail(o.at, fmt.Sprintf("families: %s does not fit frontend %s, and %s cannot translate between families", o.v, frontendText(s.Frontends[0]), s.Forward), "remove it")
		}
	}
	if len(raw.families.v) == 0 {
		w.fail(raw.families.at, "families: at least one is needed", "or remove the key")
	}
	return four, six
}

func (w *world) consulSource(_ *model.Service, raw *rawSource, to *model.Source) {
	if raw.token.given && raw.tokenFile.given {
		w.fail(raw.tokenFile.key, "discover: both token and token_file", "remove one")
	}
	address := raw.address.orValue(consulAddress)
	to.Consul = model.ConsulSource{
		Address: address, Service: raw.service.v, Tags: textsOf(raw.withTags.v), Datacenter: raw.datacenter.v,
		Namespace: raw.namespace.v, Partition: raw.partition.v, Token: raw.token.v, TokenFile: w.fromHere(raw.tokenFile.v),
		ZoneMeta: raw.zoneMeta.v, ServerIDMeta: raw.serverIDMeta.v, Wait: raw.wait.orValue(consulWait), TLS: w.tlsFiles(raw, strings.HasPrefix(address, "https:")),
	}
}

func (w *world) fileSource(_ *model.Service, raw *rawSource, to *model.Source) {
	to.File = model.FileSource{Path: w.fromHere(raw.path.v)}
}

func (w *world) etcdSource(_ *model.Service, raw *rawSource, to *model.Source) {
	endpoints := textsOf(raw.endpoints.v)
	if len(raw.endpoints.v) == 0 && raw.endpoints.given {
		w.fail(raw.endpoints.at, "endpoints: at least one is needed", "for example http://192.0.2.7:2379")
	}
	secure := slices.ContainsFunc(endpoints, func(e string) bool { return strings.HasPrefix(e, "https:") })
	if secure && slices.ContainsFunc(endpoints, func(e string) bool { return strings.HasPrefix(e, "http:") }) {
		w.fail(raw.endpoints.at, "endpoints: some with https and some without", "write all of them in the same way")
	}
	if raw.password.given && raw.passwordFile.given {
		w.fail(raw.passwordFile.key, "discover: both password and password_file", "remove one")
	}
	if (raw.password.given || raw.passwordFile.given) != raw.username.given {
		w.fail(raw.kind.at, "discover: username and password go together", "give both or none")
	}
	to.Etcd = model.EtcdSource{
		Endpoints: endpoints, Prefix: raw.prefix.v, Username: raw.username.v, Password: raw.password.v,
		PasswordFile: w.fromHere(raw.passwordFile.v), TLS: w.tlsFiles(raw, secure),
	}
}

func (w *world) tlsFiles(raw *rawSource, secure bool) model.TLSFiles {
	t := &raw.tls.v
	switch {
	case raw.tls.ok && !secure && (raw.address.ok || !raw.address.given):
		w.fail(raw.tls.key, "discover: tls has no effect without https://", "write https://, or remove tls")
	case t.certificate.given != t.key.given:
		w.fail(raw.tls.at, "tls: certificate and key go together", "give both or none")
	case t.insecure.v && t.ca.given:
		w.fail(t.ca.key, "tls: ca has no effect with insecure: true", "remove one")
	}
	return model.TLSFiles{
		CA: w.fromHere(t.ca.v), Certificate: w.fromHere(t.certificate.v), Key: w.fromHere(t.key.v),
		ServerName: t.serverName.v, Insecure: t.insecure.v,
	}
}

func (w *world) execSource(_ *model.Service, raw *rawSource, to *model.Source) {
	command := textsOf(raw.command.v)
	switch {
	case len(raw.command.v) == 0:
		if raw.command.given {
			w.fail(raw.command.at, "command: at least the program is needed", "for example [/usr/local/bin/web-backends]")
		}
	case raw.command.v[0].ok && !strings.Contains(command[0], "/"):
		w.fail(raw.command.v[0].at, fmt.Sprintf("%s is not a path: programs are not searched for", quote(command[0])), "for example /usr/local/bin/"+command[0])
	case raw.command.v[0].ok:
		command[0] = w.program(command[0])
	}
	to.Exec = model.ExecSource{Command: command}
	if raw.keepRunning.v {
		for _, k := range given(mark("interval", raw.interval), mark("timeout", raw.timeout)) {
			w.fail(k.at, fmt.Sprintf("discover: %s has no effect with keep_running", k.name), "remove one")
		}
		return
	}
	to.Exec.Interval = raw.interval.orValue(execInterval)
	to.Exec.Timeout = raw.timeout.orValue(execTimeout)
}

func textsOf(list []opt[string]) (texts []string) {
	for _, o := range list {
		if o.ok {
			texts = append(texts, o.v)
		}
	}
	return texts
}

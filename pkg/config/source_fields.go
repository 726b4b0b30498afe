package config

import (
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

type (
	rawSource struct {
		kind             opt[model.SourceType]
		source           opt[string]
		port, weight     opt[uint16]
		zone             opt[string]
		tags             opt[[]opt[string]]
		priority         opt[uint16]
		staleFor         opt[time.Duration]
		onEmpty          opt[model.OnEmpty]
		debounce         opt[time.Duration]
		name             opt[string]
		families         opt[[]opt[string]]
		servers          opt[[]opt[string]]
		timeout          opt[time.Duration]
		minTTL, maxTTL   opt[time.Duration]
		address, service opt[string]
		withTags         opt[[]opt[string]]
		datacenter       opt[string]
		namespace        opt[string]
		partition        opt[string]
		token, tokenFile opt[string]
		zoneMeta         opt[string]
		serverIDMeta     opt[string]
		wait             opt[time.Duration]
		tls              opt[rawTLS]
		path             opt[string]
		endpoints        opt[[]opt[string]]
		prefix           opt[string]
		username         opt[string]
		password         opt[string]
		passwordFile     opt[string]
		command          opt[[]opt[string]]
		interval         opt[time.Duration]
		keepRunning      opt[bool]
	}
	rawTLS struct {
		ca, certificate, key, serverName opt[string]
		insecure                         opt[bool]
	}
)

// The defaults of sources.
const (
	sourceDebounce = 200 * time.Millisecond
	dnsTimeout     = 2 * time.Second
	minTTL         = time.Second
	maxTTL         = 5 * time.Minute
	consulAddress  = "http://127.0.0.1:8500"
	consulWait     = 5 * time.Minute
	execInterval   = 30 * time.Second
	execTimeout    = 10 * time.Second
)

var (
	dnsNameKind = str("DNS name", `^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?$`, 254,
		"labels of up to 63 letters, digits, `-`, `_`, with dots between")
	plainKind  = str("text", `^[^\x00-\x1f\x7f]+$`, 1024, "1 to 1024 bytes, no control characters")
	prefixKind = str("key prefix", `^[^\x00]+$`, 1024, "1 to 1024 bytes")
	// The empty argument is one.
	argumentKind = str("argument", `^[^\x00]*$`, 65536, "up to 64 KiB, no zero byte")

	serverKind   = textOf("DNS server", "`address`, `address:port` or `[IPv6]:port`", `^([0-9A-Fa-f.:]+|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?)$`, dnsServer)
	agentKind    = textOf("URL", "`http://host:port`, `https://host:port` or `unix:///path`", `^(https?://.+|unix:///.+)$`, agentURL)
	endpointKind = textOf("URL", "`http://host:port` or `https://host:port`", `^https?://.+$`, endpointURL)
)

var sourceKind = needed(object("discover", "A place where backends come from. `type` says which keys it takes; the others are refused. See docs/discovery.md.",
	of("type", enum(sourceNames...), func(s *rawSource) *opt[model.SourceType] { return &s.kind }, about{
		doc: "`dns` the addresses of a name; `srv` service records (RFC 2782); `consul` the passing instances of a service; `file` a file or directory that is watched; `etcd` the keys under a prefix; `exec` what a program prints.", example: "dns", required: true}),
	of("source", wordKind.kind, func(s *rawSource) *opt[string] { return &s.source }, about{
		doc: "The source's name, by which it is shown; of the sources of a service no two have the same.", defDoc: "its type; with a number from the second one of a type on", example: "primary-site"}),
	of("port", portKind, func(s *rawSource) *opt[uint16] { return &s.port }, about{
		doc: "The port of backends of which the source does not say one. Not with `srv`.", defDoc: "the port that all frontends share", example: "8080"}),
	of("weight", integer[uint16](0, 65535), func(s *rawSource) *opt[uint16] { return &s.weight }, about{
		doc: "The weight of backends of which the source does not say one; with `srv` where all of a priority have weight 0. Not with `consul`, which always says one.", def: 1, example: "3"}),
	of("zone", zoneKind.kind, func(s *rawSource) *opt[string] { return &s.zone }, about{
		doc: "The zone of backends of which the source does not say one.", example: "rack-2"}),
	of("tags", listOf(tagKind.kind), func(s *rawSource) *opt[[]opt[string]] { return &s.tags }, about{
		doc: "Tags of all backends of the source, beside those that it says.", example: "[discovered]"}),
	of("priority", integer[uint16](0, 255), func(s *rawSource) *opt[uint16] { return &s.priority }, about{
		doc: "The tier of backends of which the source does not say one. With `srv` the tier of the first priority; the others follow.", def: 0, example: "1"}),
	of("stale_for", duration(0, 720*time.Hour, time.Second), func(s *rawSource) *opt[time.Duration] { return &s.staleFor }, about{
		doc: "How long the last backends stay in use while the source fails; `0s`: for ever.", def: time.Duration(0), example: "1h"}),
	of("on_empty", enum(model.EmptyKeep, model.EmptyAccept), func(s *rawSource) *opt[model.OnEmpty] { return &s.onEmpty }, about{
		doc: "When the source answers that there are no backends, after it had some: `keep` takes that for a failure and goes on with the last ones; `accept` believes it.", def: model.EmptyKeep, example: "accept"}),
	of("debounce", duration(0, time.Minute, time.Millisecond), func(s *rawSource) *opt[time.Duration] { return &s.debounce }, about{
		doc: "How long a change waits for more of them, so that a burst becomes one; `0s`: not at all. The first answer never waits.", def: sourceDebounce, example: "2s"}),
	of("name", dnsNameKind.kind, func(s *rawSource) *opt[string] { return &s.name }, about{
		doc: "`dns` and `srv`, and required there: the name to ask for, whole: there is no search list.", example: "web.example.com"}),
	of("families", listOf(enum("ipv4", "ipv6")), func(s *rawSource) *opt[[]opt[string]] { return &s.families }, about{
		doc: "`dns` and `srv`: which addresses are asked for.", defDoc: "the families of the frontends", example: "ipv4"}),
	of("servers", listOf(serverKind), func(s *rawSource) *opt[[]opt[string]] { return &s.servers }, about{
		doc: "`dns` and `srv`: DNS servers, asked in order until one answers; without a port, 53.", defDoc: "those of `/etc/resolv.conf`", example: "[192.0.2.53, 192.0.2.54:5353]"}),
	of("timeout", duration(10*time.Millisecond, time.Hour, time.Millisecond), func(s *rawSource) *opt[time.Duration] { return &s.timeout }, about{
		doc: "`dns` and `srv`: of one query; `exec`: of one run, after which the program is killed. Not with `keep_running`.", defDoc: "`" + model.DurationText(dnsTimeout) + "`; for `exec` `" + model.DurationText(execTimeout) + "`", example: "5s"}),
	of("min_ttl", duration(100*time.Millisecond, 24*time.Hour, time.Millisecond), func(s *rawSource) *opt[time.Duration] { return &s.minTTL }, about{
		doc: "`dns` and `srv`: an answer holds at least so long, whatever its TTL.", def: minTTL, example: "5s"}),
	of("max_ttl", duration(100*time.Millisecond, 24*time.Hour, time.Millisecond), func(s *rawSource) *opt[time.Duration] { return &s.maxTTL }, about{
		doc: "`dns` and `srv`: and at most so long.", defDoc: "`" + model.DurationText(maxTTL) + "`, or `min_ttl` if that is longer", example: "1m"}),
	of("address", agentKind, func(s *rawSource) *opt[string] { return &s.address }, about{
		doc: "`consul`: the agent.", def: consulAddress, example: "https://consul.example.com:8501"}),
	of("service", plainKind.kind, func(s *rawSource) *opt[string] { return &s.service }, about{
		doc: "`consul`, and required there: the service's name in the catalogue.", example: "web"}),
	of("with_tags", listOf(plainKind.kind), func(s *rawSource) *opt[[]opt[string]] { return &s.withTags }, about{
		doc: "`consul`: only instances that have all these tags.", example: "[v2]"}),
	of("datacenter", plainKind.kind, func(s *rawSource) *opt[string] { return &s.datacenter }, about{
		doc: "`consul`: the datacenter to ask for.", defDoc: "the agent's", example: "dc2"}),
	of("namespace", plainKind.kind, func(s *rawSource) *opt[string] { return &s.namespace }, about{
		doc: "`consul` (Enterprise): the namespace.", example: "team-a"}),
	of("partition", plainKind.kind, func(s *rawSource) *opt[string] { return &s.partition }, about{
		doc: "`consul` (Enterprise): the admin partition.", example: "part-1"}),
	of("token", plainKind.kind, func(s *rawSource) *opt[string] { return &s.token }, about{
		doc: "`consul`: the ACL token.", example: "3f2a9c1e-0000-4000-8000-000000000000"}),
	of("token_file", fileNameKind.kind, func(s *rawSource) *opt[string] { return &s.tokenFile }, about{
		doc: "`consul`: a file that holds the token; it is read again for each question. Not beside `token`.", example: "/run/secrets/consul-token"}),
	of("zone_meta", plainKind.kind, func(s *rawSource) *opt[string] { return &s.zoneMeta }, about{
		doc: "`consul`: the key of an instance's metadata, or else its node's, that holds its zone.", example: "rack"}),
	of("server_id_meta", plainKind.kind, func(s *rawSource) *opt[string] { return &s.serverIDMeta }, about{
		doc: "`consul`: the key of an instance's metadata, or else its node's, that holds its `server_id`, for services with `quic`.", example: "quic_id"}),
	of("wait", duration(time.Second, 10*time.Minute, time.Second), func(s *rawSource) *opt[time.Duration] { return &s.wait }, about{
		doc: "`consul`: how long a blocking query waits for a change.", def: consulWait, example: "1m"}),
	of("tls", tlsKind, func(s *rawSource) *opt[rawTLS] { return &s.tls }, about{
		doc: "`consul` and `etcd` with `https://`: how the server is verified, and as whom xlb shows itself.", example: "{ca: /etc/xlb/ca.pem}"}),
	of("path", fileNameKind.kind, func(s *rawSource) *opt[string] { return &s.path }, about{
		doc: "`file`, and required there: a file in YAML or JSON, or a directory of which each `*.yaml`, `*.yml` and `*.json` is read.", example: "/etc/xlb/backends/web.yaml"}),
	of("endpoints", listOf(endpointKind), func(s *rawSource) *opt[[]opt[string]] { return &s.endpoints }, about{
		doc: "`etcd`, and required there: the members.", example: "[http://192.0.2.7:2379]"}),
	of("prefix", prefixKind.kind, func(s *rawSource) *opt[string] { return &s.prefix }, about{
		doc: "`etcd`, and required there: the keys that begin so are backends.", example: "/services/web/"}),
	of("username", plainKind.kind, func(s *rawSource) *opt[string] { return &s.username }, about{
		doc: "`etcd`: the user, if authentication is on.", example: "xlb"}),
	of("password", plainKind.kind, func(s *rawSource) *opt[string] { return &s.password }, about{
		doc: "`etcd`: the user's password.", example: "secret"}),
	of("password_file", fileNameKind.kind, func(s *rawSource) *opt[string] { return &s.passwordFile }, about{
		doc: "`etcd`: a file whose first line is the password; it is read at each login. Not beside `password`.", example: "/run/secrets/etcd-password"}),
	of("command", listOf(argumentKind.kind), func(s *rawSource) *opt[[]opt[string]] { return &s.command }, about{
		doc: "`exec`, and required there: the program, a path with a `/`, relative to the configuration file's directory unless it begins with one, and its arguments. There is no shell.", example: "[/usr/local/bin/web-backends, --site, north]"}),
	of("interval", duration(100*time.Millisecond, 24*time.Hour, time.Millisecond), func(s *rawSource) *opt[time.Duration] { return &s.interval }, about{
		doc: "`exec`: time between the starts of two runs. Not with `keep_running`.", def: execInterval, example: "10s"}),
	of("keep_running", boolean, func(s *rawSource) *opt[bool] { return &s.keepRunning }, about{
		doc: "`exec`: the program stays, and prints a whole document in one line each time the backends change.", def: false, example: "true"}),
))

var tlsKind = object("tls", "How a server is verified, and as whom xlb shows itself. Files are in PEM, and read again for each connection.",
	of("ca", fileNameKind.kind, func(t *rawTLS) *opt[string] { return &t.ca }, about{
		doc: "Certificates of the authorities that are believed.", defDoc: "those of the host", example: "/etc/xlb/ca.pem"}),
	of("certificate", fileNameKind.kind, func(t *rawTLS) *opt[string] { return &t.certificate }, about{
		doc: "The certificate that xlb shows; with `key`.", example: "/etc/xlb/client.pem"}),
	of("key", fileNameKind.kind, func(t *rawTLS) *opt[string] { return &t.key }, about{
		doc: "Its private key.", example: "/etc/xlb/client.key"}),
	of("server_name", hostKind.kind, func(t *rawTLS) *opt[string] { return &t.serverName }, about{
		doc: "The name that the server's certificate must hold.", defDoc: "the host of the URL", example: "consul.example.com"}),
	of("insecure", boolean, func(t *rawTLS) *opt[bool] { return &t.insecure }, about{
		doc: "Believe any certificate.", def: false, example: "true"}),
)

// dnsServer returns an address with a port. Loopback is fine here: a resolver
// on the host is the usual case.
func dnsServer(s string) (string, *problem) {
	if ap, err := netip.ParseAddrPort(s); err == nil && ap.Port() != 0 {
		return ap.String(), nil
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		return "", &problem{quote(s) + " is not the address of a DNS server", "for example 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:53"}
	}
	return netip.AddrPortFrom(a, 53).String(), nil
}

func agentURL(s string) (string, *problem) {
	const hint = "for example " + consulAddress + ", https://consul.example.com:8501 or unix:///run/consul.sock"
	if path, ok := strings.CutPrefix(s, "unix://"); ok {
		if !filepath.IsAbs(path) {
			return "", &problem{quote(s) + " holds no absolute path", hint}
		}
		return s, nil
	}
	return httpURL(s, hint)
}

func endpointURL(s string) (string, *problem) {
	return httpURL(s, "for example http://192.0.2.7:2379")
}

// httpURL is a scheme, a host and a port, and nothing else.
func httpURL(s, hint string) (string, *problem) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return "", &problem{quote(s) + " is not the URL of a server", hint}
	case u.User != nil:
		return "", &problem{"a URL with a user name", "there are keys for that; " + hint}
	case u.Port() == "":
		return "", &problem{quote(s) + " has no port", hint}
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return "", &problem{quote(s) + " holds more than a host and a port", hint}
	}
	if _, p := port(u.Port(), s); p != nil {
		return "", p
	}
	return u.Scheme + "://" + net.JoinHostPort(u.Hostname(), u.Port()), nil
}

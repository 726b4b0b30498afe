package config

import (
	"strings"

	"github.com/xlb-io/xlb/pkg/model"
)

// rawCheck is what some types of probe know, beside what all do.
type rawCheck struct {
	method, path, host         opt[string]
	status                     opt[[]opt[model.StatusRange]]
	body                       opt[string]
	grpcService                opt[string]
	query, queryType           opt[string]
	transport, rcode, answer   opt[string]
	send                       opt[string]
	expect                     opt[expectation]
	version                    opt[model.MQTTVersion]
	user, database             opt[string]
	password, passwordFile     opt[string]
	command                    opt[[]opt[string]]
	policy                     opt[string]
	tls, startTLS, verify      opt[bool]
	serverName                 opt[string]
	ca, certificate, clientKey opt[string]
}

var (
	probeTypes = []model.ProbeType{
		model.ProbeNone, model.ProbeTCP, model.ProbeTLS, model.ProbeHTTP, model.ProbeHTTPS, model.ProbeHTTP2, model.ProbeGRPC, model.ProbeDNS,
		model.ProbeUDP, model.ProbeICMP, model.ProbeMQTT, model.ProbeRedis, model.ProbePostgres, model.ProbeMySQL, model.ProbeSMTP,
		model.ProbeSendExpect, model.ProbeExec, model.ProbePolicy,
	}
	probeTypeKind = enum(probeTypes...)

	grpcServiceKind = str("gRPC service", `^[A-Za-z0-9_./-]+$`, 255, "letters, digits, `_`, `.`, `/`, `-`")
	queryKind       = str("domain name", `^(\.|([A-Za-z0-9_*-]{1,63}\.)*[A-Za-z0-9_*-]{1,63}\.?)$`, 253, "labels of letters, digits, `-`, `_`; an international name in its xn-- form")
	answerKind      = str("record data", `^[^\x00-\x1f\x7f]+$`, 255, "as in a zone file")
	userKind        = str("user name", `^[^\x00-\x1f\x7f]+$`, 255, "1 to 255 bytes, no control characters")
	databaseKind    = str("database name", `^[^\x00-\x1f\x7f]+$`, 255, "1 to 255 bytes, no control characters")

	queryTypeKind = enum("A", "AAAA", "CAA", "CNAME", "HTTPS", "MX", "NAPTR", "NS", "PTR", "SOA", "SRV", "SVCB", "TXT")
	rcodeKind     = enum("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
	transportKind = enum("udp", "tcp")
	versionKind   = enum(model.MQTT311, model.MQTT5)
)

// Groups of types that know the same keys. A type speaks TLS always, when `tls` is
// true, or never.
var (
	httpTypes    = []model.ProbeType{model.ProbeHTTP, model.ProbeHTTPS, model.ProbeHTTP2}
	hostTypes    = append(append([]model.ProbeType{}, httpTypes...), model.ProbeGRPC)
	loginTypes   = []model.ProbeType{model.ProbeMQTT, model.ProbeRedis, model.ProbePostgres, model.ProbeMySQL}
	mayTLSTypes  = append([]model.ProbeType{model.ProbeHTTP2, model.ProbeGRPC, model.ProbeSMTP, model.ProbeSendExpect}, loginTypes...)
	tlsTypes     = append([]model.ProbeType{model.ProbeHTTPS, model.ProbeTLS}, mayTLSTypes...)
	talkTypes    = []model.ProbeType{model.ProbeSendExpect, model.ProbeUDP}
	dnsTypes     = []model.ProbeType{model.ProbeDNS}
	portlessType = model.ProbeICMP
)

// probeKey is a key of which only some types of probe know.
type probeKey struct {
	name  string
	types []model.ProbeType
	// tls: it has an effect only where TLS is spoken.
	tls   bool
	field field[rawCheck]
	given func(*rawCheck) keyAt
	// inherit takes the key from another mapping where own has none.
	inherit func(own, from *rawCheck)
}

func keyFor[V any](types []model.ProbeType, name string, k kind[V], at func(*rawCheck) *opt[V], a about) probeKey {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = "`" + string(t) + "`"
	}
	a.doc = strings.Join(names, ", ") + ": " + a.doc
	return probeKey{
		name: name, types: types, field: of(name, k, at, a),
		given:   func(c *rawCheck) keyAt { return mark(name, *at(c)) },
		inherit: func(own, from *rawCheck) { *at(own) = at(own).or(*at(from)) },
	}
}

// tlsKeyFor is a key of every type that can speak TLS.
func tlsKeyFor[V any](name string, k kind[V], at func(*rawCheck) *opt[V], a about) probeKey {
	doc := a.doc
	key := keyFor(tlsTypes, name, k, at, a)
	key.tls, key.field.doc = true, "TLS: "+doc
	return key
}

var probeKeys = []probeKey{
	keyFor(httpTypes, "method", methodKind.kind, func(c *rawCheck) *opt[string] { return &c.method }, about{
		doc: "the request's method.", def: probe.HTTP.Method, example: "HEAD"}),
	keyFor(httpTypes, "path", pathKind.kind, func(c *rawCheck) *opt[string] { return &c.path }, about{
		doc: "the request's path. `{service}`, `{backend}`, `{address}` and `{port}` stand for the backend's own.", def: probe.HTTP.Path, example: "/health"}),
	keyFor(hostTypes, "host", hostKind.kind, func(c *rawCheck) *opt[string] { return &c.host }, about{
		doc: "the Host header, or authority, and the TLS server name if `server_name` gives none.", defDoc: "the address that is probed", example: "example.com"}),
	keyFor(httpTypes, "status", listOf(statusKind), func(c *rawCheck) *opt[[]opt[model.StatusRange]] { return &c.status }, about{
		doc: "the accepted status codes.", defDoc: "`200-399`", example: "[200, 204, 300-399]"}),
	keyFor(httpTypes, "body", bodyKind.kind, func(c *rawCheck) *opt[string] { return &c.body }, about{
		doc: "a text that the first 64 KiB of the answer must hold.", defDoc: "any answer", example: "ok"}),
	keyFor([]model.ProbeType{model.ProbeGRPC}, "grpc_service", grpcServiceKind.kind, func(c *rawCheck) *opt[string] { return &c.grpcService }, about{
		doc: "the service whose health is asked for.", defDoc: "the server as a whole", example: "shop.v1.Cart"}),
	keyFor(dnsTypes, "query", queryKind.kind, func(c *rawCheck) *opt[string] { return &c.query }, about{
		doc: "the name that is asked for. Required.", example: "www.example.com"}),
	keyFor(dnsTypes, "query_type", queryTypeKind, func(c *rawCheck) *opt[string] { return &c.queryType }, about{
		doc: "the record type that is asked for.", def: probe.DNS.Type, example: "AAAA"}),
	keyFor(dnsTypes, "transport", transportKind, func(c *rawCheck) *opt[string] { return &c.transport }, about{
		doc: "by what the question goes.", def: "udp", example: "tcp"}),
	keyFor(dnsTypes, "rcode", rcodeKind, func(c *rawCheck) *opt[string] { return &c.rcode }, about{
		doc: "the expected response code.", def: probe.DNS.RCode, example: "NXDOMAIN"}),
	keyFor(dnsTypes, "answer", answerKind.kind, func(c *rawCheck) *opt[string] { return &c.answer }, about{
		doc: "what a record of the answer, of the type asked for, must say.", defDoc: "any answer", example: "192.0.2.10"}),
	keyFor(talkTypes, "send", sendKind, func(c *rawCheck) *opt[string] { return &c.send }, about{
		doc: "what is sent, with the placeholders of `path`.", defDoc: "nothing; `udp`: an empty datagram", example: `'STATUS\r\n'`}),
	keyFor(talkTypes, "expect", expectKind, func(c *rawCheck) *opt[expectation] { return &c.expect }, about{
		doc: "what the first 64 KiB of the answer, of UDP its first datagram, must hold. `send-expect` requires it.", defDoc: "`udp`: any answer, or silence until the timeout, but no ICMP error", example: "'re:^OK [0-9]+'"}),
	keyFor([]model.ProbeType{model.ProbeMQTT}, "version", versionKind, func(c *rawCheck) *opt[model.MQTTVersion] { return &c.version }, about{
		doc: "the version of the protocol.", def: probe.MQTTVersion, example: "v5"}),
	keyFor(loginTypes, "user", userKind.kind, func(c *rawCheck) *opt[string] { return &c.user }, about{
		doc: "who logs in. `postgres` and `mysql` without it do not log in: a server that asks for a password, or denies it, is alive, and there is no role.", example: "monitor"}),
	keyFor(loginTypes, "password", passwordKind, func(c *rawCheck) *opt[string] { return &c.password }, about{
		doc: "the user's password.", example: "secret"}),
	keyFor(loginTypes, "password_file", fileNameKind.kind, func(c *rawCheck) *opt[string] { return &c.passwordFile }, about{
		doc: "a file whose first line is the password. It is read at each check.", example: "/etc/xlb/probe.password"}),
	keyFor([]model.ProbeType{model.ProbePostgres, model.ProbeMySQL}, "database", databaseKind.kind, func(c *rawCheck) *opt[string] { return &c.database }, about{
		doc: "the database that is opened.", defDoc: "`postgres`; `mysql`: none", example: "shop"}),
	keyFor([]model.ProbeType{model.ProbeExec}, "command", listOf(argumentKind.kind), func(c *rawCheck) *opt[[]opt[string]] { return &c.command }, about{
		doc: "the program, relative to the configuration file's directory, and its arguments; no shell. Required.", example: "[/usr/local/bin/check-shop, --quick]"}),
	keyFor([]model.ProbeType{model.ProbePolicy}, "policy", policyNameKind.kind, func(c *rawCheck) *opt[string] { return &c.policy }, about{
		doc: "one of `policies:`, with a probe hook. Required.", example: "line-probe"}),
	keyFor(mayTLSTypes, "tls", boolean, func(c *rawCheck) *opt[bool] { return &c.tls }, about{
		doc: "speak TLS from the first byte; `postgres` and `mysql` ask for it in their own way.", defDoc: "`http2`: `true`, else `false`", example: "true"}),
	keyFor([]model.ProbeType{model.ProbeSMTP}, "starttls", boolean, func(c *rawCheck) *opt[bool] { return &c.startTLS }, about{
		doc: "the server must offer STARTTLS, and do it.", def: false, example: "true"}),
	tlsKeyFor("verify", boolean, func(c *rawCheck) *opt[bool] { return &c.verify }, about{
		doc: "check the certificate's chain and name.", def: true, example: "false"}),
	tlsKeyFor("server_name", hostKind.kind, func(c *rawCheck) *opt[string] { return &c.serverName }, about{
		doc: "the name that the certificate must be for, and that is sent as SNI.", defDoc: "`host`, or the address that is probed, which is no SNI", example: "db.example.com"}),
	tlsKeyFor("ca", fileNameKind.kind, func(c *rawCheck) *opt[string] { return &c.ca }, about{
		doc: "a file of the certificates to trust, in PEM. A change of it counts at the next check.", defDoc: "those of the system", example: "/etc/xlb/ca.pem"}),
	tlsKeyFor("certificate", fileNameKind.kind, func(c *rawCheck) *opt[string] { return &c.certificate }, about{
		doc: "a file of the client's certificate, in PEM. Needs `key`.", example: "/etc/xlb/client.pem"}),
	tlsKeyFor("key", fileNameKind.kind, func(c *rawCheck) *opt[string] { return &c.clientKey }, about{
		doc: "a file of the key of `certificate`.", example: "/etc/xlb/client.key"}),
}

// checkFields are the fields of probeKeys.
func checkFields() []field[rawCheck] {
	list := make([]field[rawCheck], len(probeKeys))
	for i, k := range probeKeys {
		list[i] = k.field
	}
	return list
}

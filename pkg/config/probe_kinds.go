package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/xlb-io/xlb/pkg/model"
)

// needs are the keys without which a type of probe cannot work, with an example.
var needs = map[model.ProbeType]struct{ key, example string }{
	model.ProbeDNS:        {"query", "for example query: www.example.com"},
	model.ProbeExec:       {"command", "for example command: /usr/local/bin/check-shop"},
	model.ProbeSendExpect: {"expect", "for example expect: '+PONG'"},
	model.ProbePolicy:     {"policy", "the name of one of policies:, for example policy: line-probe"},
}

// inherited is c with what it lacks from d.
func (c rawCheck) inherited(d *rawCheck) rawCheck {
	// Two ways to one password, of which a file's own one wins.
	own := c.password.given || c.passwordFile.given
	password, file := c.password, c.passwordFile
	for _, k := range probeKeys {
		k.inherit(&c, d)
	}
	if own {
		c.password, c.passwordFile = password, file
	}
	return c
}

// given are the keys that the file gives.
func (c *rawCheck) given() []keyAt {
	var list []keyAt
	for _, k := range probeKeys {
		list = append(list, given(k.given(c))...)
	}
	return list
}

// tlsMode is whether a probe of that type speaks TLS; c holds what is inherited too.
func (c *rawCheck) tlsMode(kind model.ProbeType) model.TLSMode {
	switch {
	case kind == model.ProbeHTTPS, kind == model.ProbeTLS, slices.Contains(mayTLSTypes, kind) && c.tls.orValue(kind == model.ProbeHTTP2):
		return model.TLSOn
	case kind == model.ProbeSMTP && c.startTLS.v:
		return model.TLSStart
	}
	return model.TLSOff
}

// checkKeys refuses the keys of c without effect on a probe of that type, whose
// TLS is as whole says.
func (r *reader) checkKeys(c, whole *rawCheck, kind model.ProbeType) {
	for _, k := range probeKeys {
		at := k.given(c)
		if at.name == "" {
			continue
		}
		switch {
		case kind == model.ProbeNone:
			r.fail(at.at, fmt.Sprintf("probe: %s has no effect with type none", k.name), "give another type or remove "+k.name)
		case !slices.Contains(k.types, kind):
			r.fail(at.at, fmt.Sprintf("probe: %s has no effect with type %s", k.name, kind), k.hint())
		case k.tls && whole.tlsMode(kind) == model.TLSOff:
			r.fail(at.at, fmt.Sprintf("probe: %s has no effect without TLS", k.name), "add tls: true or remove "+k.name)
		}
	}
	if c.password.given && c.passwordFile.given {
		r.fail(c.passwordFile.key, "probe: password and password_file are two ways to one password", "remove one of them")
	}
	if c.tls.v && c.startTLS.v {
		r.fail(c.startTLS.key, "probe: starttls has no effect with tls: true", "remove one of them")
	}
}

// hint names the types that know the key.
func (k probeKey) hint() string {
	if k.tls {
		return "use a type that speaks TLS, for example https, or remove " + k.name
	}
	names := make([]string, len(k.types))
	for i, t := range k.types {
		names[i] = string(t)
	}
	if len(names) == 1 {
		return fmt.Sprintf("use type: %s or remove %s", names[0], k.name)
	}
	last := len(names) - 1
	return fmt.Sprintf("use type: %s or %s, or remove %s", strings.Join(names[:last], ", "), names[last], k.name)
}

// checkPairs refuses half a pair of keys, and a password without a user; c holds
// what is inherited too.
func (r *reader) checkPairs(at place, c *rawCheck, kind model.ProbeType) {
	if c.tlsMode(kind) != model.TLSOff && c.certificate.given != c.clientKey.given {
		r.fail(at, "probe: certificate and key need each other", "give both or none")
	}
	secret := c.password.given || c.passwordFile.given
	if slices.Contains(loginTypes, kind) && kind != model.ProbeRedis && secret && !c.user.given {
		r.fail(at, fmt.Sprintf("probe: type %s has a password without a user", kind), "add user or remove the password")
	}
}

// checkNeeds reports what a type of probe lacks.
func (r *reader) checkNeeds(at place, c *rawCheck, kind model.ProbeType) {
	need, ok := needs[kind]
	given := slices.ContainsFunc(c.given(), func(k keyAt) bool { return k.name == need.key })
	if kind == model.ProbeExec && c.command.ok { // a list may be empty, and so may a word
		given = len(c.command.v) > 0 && (!c.command.v[0].ok || c.command.v[0].v != "")
	}
	if !ok || given {
		return
	}
	r.fail(at, fmt.Sprintf("probe: type %s needs %s", kind, need.key), need.example)
}

// into fills what c, which holds what is inherited too, says of a probe.
func (r *reader) into(p *model.Probe, c *rawCheck) {
	p.TLS = r.probeTLS(c, p.Type)
	switch p.Type {
	case model.ProbeHTTP, model.ProbeHTTPS, model.ProbeHTTP2:
		p.HTTP = model.HTTPProbe{Method: c.method.orValue(probe.HTTP.Method), Path: c.path.orValue(probe.HTTP.Path), Host: c.host.v, Body: c.body.v}
		for _, code := range c.status.v {
			if code.ok {
				p.HTTP.Status = append(p.HTTP.Status, code.v)
			}
		}
	case model.ProbeGRPC:
		p.GRPC = model.GRPCProbe{Service: c.grpcService.v, Host: c.host.v}
	case model.ProbeDNS:
		name := c.query.v
		if !strings.HasSuffix(name, ".") {
			name += "."
		}
		p.DNS = model.DNSProbe{
			Name: name, Type: c.queryType.orValue(probe.DNS.Type), TCP: c.transport.v == "tcp", RCode: c.rcode.orValue(probe.DNS.RCode), Answer: c.answer.v,
		}
	case model.ProbeUDP, model.ProbeSendExpect:
		p.Talk = model.TalkProbe{Send: c.send.v, Expect: c.expect.v.text, Pattern: c.expect.v.pattern}
	case model.ProbeExec:
		for i, word := range c.command.v {
			if i == 0 {
				word.v = r.program(word.v)
			}
			p.Command = append(p.Command, word.v)
		}
	case model.ProbePolicy:
		p.Policy = c.policy.v
	case model.ProbeMQTT:
		p.MQTTVersion = c.version.orValue(probe.MQTTVersion)
	}
	if slices.Contains(loginTypes, p.Type) {
		p.Login = model.Login{User: c.user.v, Password: c.password.v, PasswordFile: r.fromHere(c.passwordFile.v)}
	}
	if p.Type == model.ProbePostgres || p.Type == model.ProbeMySQL {
		p.Login.Database = c.database.v
	}
}

// program is the path of a program that the file names, from the root: it runs in
// another directory than the daemon, and a bare name would be looked for in PATH.
func (r *reader) program(path string) string {
	path = r.fromHere(path)
	if whole, err := filepath.Abs(path); path != "" && err == nil { // else the working directory is gone
		return whole
	}
	return path
}

func (r *reader) probeTLS(c *rawCheck, kind model.ProbeType) model.TLSProbe {
	mode := c.tlsMode(kind)
	if mode == model.TLSOff {
		return model.TLSProbe{}
	}
	return model.TLSProbe{
		Mode: mode, ServerName: c.serverName.v, SkipVerify: !c.verify.orValue(true),
		CA: r.fromHere(c.ca.v), Certificate: r.fromHere(c.certificate.v), Key: r.fromHere(c.clientKey.v),
	}
}

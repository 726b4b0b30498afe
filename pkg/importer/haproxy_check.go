package importer

import (
	"slices"
	"strconv"
	"strings"
)

// checks are the options that say what a check does; the last one holds.
var checks = []string{"httpchk", "mysql-check", "pgsql-check", "redis-check", "smtpchk", "ssl-hello-chk", "tcp-check", "ldap-check", "spop-check", "external-check"}

// checkKind finds what kind of check a proxy's options ask for.
func (h *haproxy) checkKind(p *proxy, out *Probe, server haproxyServer, s *Service) {
	for _, l := range slices.Backward(p.lines) {
		if l.first() != "option" || !slices.Contains(checks, l.arg(0)) {
			continue
		}
		switch l.arg(0) {
		case "httpchk":
			out.Type = "http"
			h.httpRequest(l, out)
			h.httpRules(p, out)
			if out.TLS {
				out.Type, out.TLS = "https", false
			}
		case "mysql-check":
			out.Type = "mysql"
			h.user(l, out)
		case "pgsql-check":
			out.Type = "postgres"
			h.user(l, out)
		case "redis-check":
			out.Type = "redis"
		case "smtpchk":
			out.Type = "smtp"
			if len(l.text) > 2 {
				h.note(l.at, l.String(), "a probe says EHLO with its own address")
			}
		case "ssl-hello-chk":
			out.Type = "tls"
		case "tcp-check":
			h.tcpCheck(p, out, s)
		default:
			h.note(l.at, l.String(), "there is no such probe; it became a TCP connect. A probe of type exec or policy can speak the protocol")
		}
		break
	}
	h.checkTLS(out, server)
}

// checkTLS is how a check is encrypted, and what of the certificate is looked at.
func (h *haproxy) checkTLS(out *Probe, server haproxyServer) {
	if has(server.options, "check-ssl") {
		switch out.Type {
		case "http":
			out.Type = "https"
		case "tcp":
			out.Type = "tls"
		case "tls":
		default:
			out.TLS = true
		}
	}
	if !out.TLS && out.Type != "tls" && out.Type != "https" {
		return
	}
	if sni, ok := server.options["check-sni"]; ok {
		out.ServerName = sni
	}
	if server.options["verify"] == "required" {
		out.CA = server.options["ca-file"]
		return
	}
	no := false
	out.Verify = &no
}

func (h *haproxy) user(l words, out *Probe) {
	if l.has("user") {
		h.note(l.at, l.String(), "without credentials a probe of type %s looks at the handshake alone; give user: and password_file: for a login", out.Type)
	}
}

// httpRequest reads option httpchk [METHOD] [URI [VERSION]].
func (h *haproxy) httpRequest(l words, out *Probe) {
	args := l.text[2:]
	switch {
	case len(args) == 1:
		out.Path = args[0]
	case len(args) >= 2:
		out.Method, out.Path = args[0], args[1]
	default:
		out.Method = "OPTIONS" // HAProxy's default
	}
	if len(args) > 2 {
		h.httpVersion(l, args[2], out)
	}
}

// httpVersion reads the third argument, in which old files hide headers.
func (h *haproxy) httpVersion(l words, version string, out *Probe) {
	for _, header := range strings.Split(version, "\r\n")[1:] {
		name, value, _ := strings.Cut(header, ":")
		if name != "" {
			h.header(l, strings.TrimSpace(name), strings.TrimSpace(value), out)
		}
	}
}

// header is one that a check sends.
func (h *haproxy) header(l words, name, value string, out *Probe) {
	if !strings.EqualFold(name, "host") {
		h.note(l.at, name+": "+value, "a probe sends no headers but Host")
		return
	}
	host, _, _ := strings.Cut(value, ":")
	if !isName(host) {
		h.note(l.at, name+": "+value, "host: of a probe is a name")
		return
	}
	out.Host = host
}

// httpRules reads http-check send and expect.
func (h *haproxy) httpRules(p *proxy, out *Probe) {
	for _, l := range p.lines {
		if l.first() != "http-check" {
			continue
		}
		switch l.arg(0) {
		case "send":
			if v, ok := l.after("meth"); ok {
				out.Method = v
			}
			if v, ok := l.after("uri"); ok {
				out.Path = v
			}
			for i, t := range l.text {
				if t == "hdr" && i+2 < len(l.text) {
					h.header(l, l.text[i+1], l.text[i+2], out)
				}
			}
			if l.has("body") || l.has("body-lf") || l.has("uri-lf") {
				h.note(l.at, l.String(), "an HTTP probe sends no body, and a path that stays the same")
			}
		case "expect":
			switch rest := l.text[2:]; {
			case len(rest) == 2 && rest[0] == "status":
				out.Status = statuses(strings.Split(rest[1], ",")...)
			case len(rest) == 2 && rest[0] == "string":
				out.Body = rest[1]
			default:
				h.note(l.at, l.String(), "an HTTP probe expects status codes (status:) and a text in the body (body:)")
			}
		case "disable-on-404":
			h.note(l.at, l.String(), "a probe is good or bad; drain a backend by xlb backend drain")
		case "send-state":
			h.note(l.at, l.String(), "a probe sends no headers but Host")
		case "connect":
			h.connect(l, out)
		case "comment":
		default:
			h.note(l.at, l.String(), "an HTTP probe sends one request")
		}
	}
}

// tcpCheck turns a scripted check: the usual one of Redis into a probe of its
// own type, of others the one text sent and the one expected.
func (h *haproxy) tcpCheck(p *proxy, out *Probe, s *Service) {
	var lines []words
	for _, l := range p.lines {
		if l.first() == "tcp-check" {
			lines = append(lines, l)
		}
	}
	if h.redisCheck(lines, out, s) {
		return
	}
	connected := false
	for _, l := range lines {
		kind, value := l.arg(1), l.arg(2)
		switch verb := l.arg(0); {
		case verb == "connect" && !connected:
			connected = true
			h.connect(l, out)
		case verb == "send" && out.Send == "":
			out.Send = escaped(kind)
		case verb == "send-binary" && out.Send == "":
			out.Send = "hex:" + kind
		case verb == "expect" && out.Expect == "" && value != "" && kind == "string":
			out.Expect = escaped(value)
		case verb == "expect" && out.Expect == "" && value != "" && kind == "rstring":
			out.Expect = "re:" + value
		case verb == "expect" && out.Expect == "" && value != "" && kind == "binary":
			out.Expect = "hex:" + value
		case verb == "comment":
		default:
			h.note(l.at, l.String(), "a probe of type send-expect sends one text and expects one; a policy can speak a whole protocol")
		}
	}
	switch {
	case out.Expect != "":
		out.Type = "send-expect"
	case out.Send != "":
		out.Send = ""
		h.note(lines[0].at, "tcp-check send …", "a probe that sends expects something too; it became a connect")
	}
	if out.TLS && out.Type == "tcp" {
		out.Type, out.TLS = "tls", false
	}
}

// connect reads what a scripted check connects to.
func (h *haproxy) connect(l words, out *Probe) {
	options := l.options(2, []string{"port", "addr", "sni", "alpn", "proto"})
	out.TLS, out.ServerName = has(options, "ssl"), options["sni"]
	if n, err := strconv.Atoi(options["port"]); err == nil && n >= 1 && n <= 65535 {
		out.Port = n
	}
	for _, name := range []string{"addr", "send-proxy", "via-socks4"} {
		if has(options, name) {
			h.note(l.at, l.String(), "a probe connects to the backend, at port: or its own")
		}
	}
}

// redisCheck knows the script that asks Redis for a PONG and for its role.
func (h *haproxy) redisCheck(lines []words, out *Probe, s *Service) bool {
	pong, role := false, ""
	for _, l := range lines {
		if l.arg(0) != "expect" || l.arg(1) != "string" {
			continue
		}
		switch strings.ToLower(l.arg(2)) {
		case "+pong":
			pong = true
		case "role:master":
			role = "primary"
		case "role:slave":
			role = "replica"
		}
	}
	if !pong && role == "" {
		return false
	}
	out.Type, s.Role = "redis", role
	for _, l := range lines {
		if l.arg(0) == "connect" {
			h.connect(l, out)
		}
		if l.arg(0) == "send" && strings.HasPrefix(strings.ToLower(l.arg(1)), "auth") {
			h.note(l.at, "tcp-check send AUTH …", "give the password as password_file: of the probe")
		}
	}
	return true
}

package importer

import (
	"slices"
	"strings"
)

// checkKind finds what kind of check a proxy's options ask for.
func (h *haproxy) checkKind(p *proxy, out *Probe, server words, s *Service) {
	encrypted := server.has("check-ssl") || server.has("ssl")
	verify := func() *bool {
		if v, ok := server.after("verify"); ok && v == "required" {
			return nil
		}
		no := false
		return &no
	}
	for _, l := range p.lines {
		if l.first() != "option" {
			continue
		}
		switch l.arg(0) {
		case "httpchk":
			out.Type = "http"
			h.httpRequest(l, out)
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
		case "ssl-hello-chk":
			out.Type, out.Verify = "tls", verify()
		case "tcp-check":
			h.tcpCheck(p, out, s)
		case "ldap-check", "spop-check", "external-check":
			h.note(l.at, l.String(), "there is no such probe; it became a TCP connect. A probe of type exec or policy can speak the protocol")
		}
	}
	switch {
	case out.Type == "http":
		h.httpRules(p, out)
		if encrypted {
			out.Type, out.Verify = "https", verify()
		}
	case encrypted && out.Type == "tcp":
		out.Type, out.Verify = "tls", verify()
	case encrypted && out.Type != "tls":
		out.TLS, out.Verify = true, verify()
	}
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
		if strings.EqualFold(strings.TrimSpace(name), "host") {
			out.Host = strings.TrimSpace(value)
		} else if name != "" {
			h.note(l.at, header, "a probe sends no headers but Host")
		}
	}
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
				if t == "hdr" && i+2 < len(l.text) && strings.EqualFold(l.text[i+1], "host") {
					out.Host = l.text[i+2]
				}
			}
		case "expect":
			switch rest := slices.DeleteFunc(slices.Clone(l.text[2:]), func(t string) bool { return strings.HasPrefix(t, "min-recv") }); {
			case len(rest) == 2 && rest[0] == "status":
				out.Status = statuses(strings.Split(rest[1], ",")...)
			case len(rest) == 2 && rest[0] == "string":
				out.Body = rest[1]
			default:
				h.note(l.at, l.String(), "an HTTP probe expects status codes (status:) and a text in the body (body:)")
			}
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
	sent, expected := false, false
	for _, l := range lines {
		switch {
		case l.arg(0) == "connect":
			out.TLS = out.TLS || l.has("ssl")
		case l.arg(0) == "send" && !sent:
			out.Send, sent = visible(l.arg(1)), true
		case l.arg(0) == "expect" && l.arg(1) == "string" && !expected:
			out.Expect, expected = visible(l.arg(2)), true
		case l.arg(0) == "comment":
		default:
			h.note(l.at, l.String(), "a probe of type send-expect sends one text and expects one; a policy can speak a whole protocol")
		}
	}
	if sent || expected {
		out.Type = "send-expect"
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
		if l.arg(0) == "send" && strings.HasPrefix(strings.ToLower(l.arg(1)), "auth") {
			h.note(l.at, "tcp-check send AUTH …", "give the password as password_file: of the probe")
		}
	}
	return true
}

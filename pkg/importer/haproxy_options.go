package importer

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

func (h *haproxy) balance(p *proxy, s *Service) {
	l, ok := p.last("balance")
	if !ok {
		return
	}
	algorithm, argument, _ := strings.Cut(strings.TrimSuffix(l.arg(0), ")"), "(")
	switch algorithm {
	case "roundrobin", "static-rr":
	case "leastconn":
		s.Schedule = "least-connections"
	case "source":
		s.Schedule = "source-hash"
	case "random":
		// Of two (the default) or more drawn ones HAProxy takes the less loaded.
		s.Schedule = "least-connections"
		if argument == "1" {
			s.Schedule = "random"
		}
	case "hash":
		if l.arg(1) == "src" {
			s.Schedule = "source-hash"
			return
		}
		fallthrough
	default:
		s.Schedule = "maglev"
		h.note(l.at, l.String(), "it needs what is in the connection; it became a hash of addresses and ports")
	case "first":
		h.note(l.at, l.String(), "xlb fills no server before the next; priority: makes tiers, of which the next serves when one is down. It became round-robin")
	}
}

// options are those of the listening and of the serving side.
func (h *haproxy) options(front, back *proxy, s *Service) {
	h.timeouts(front, back, s)
	if l, ok := front.last("maxconn"); ok {
		if n, err := strconv.Atoi(l.arg(0)); err == nil && n > 0 {
			s.MaxConnections = n
		}
	}
	retries, tried := back.last("retries")
	if _, ok := back.last("option", "redispatch"); ok {
		s.SynRetry = 3
		if n, err := strconv.Atoi(retries.argOf(tried)); err == nil {
			s.SynRetry = min(max(n, 0), 3)
		}
	} else if tried {
		h.note(retries.at, retries.String(), "without option redispatch it is the same server that is tried again, which clients do by themselves; see syn_retry")
	}
	if l, ok := back.last("source"); ok {
		if l.has("usesrc") {
			s.Forward = "dnat"
		} else {
			h.note(l.at, l.String(), "the addresses towards backends are those of all services: set sources: at the top of the file")
		}
	}
	h.sticky(back, s)
}

func (w words) argOf(there bool) string {
	if !there {
		return ""
	}
	return w.arg(0)
}

func (h *haproxy) timeouts(front, back *proxy, s *Service) {
	type limit struct {
		p    *proxy
		name string
	}
	read := func(of ...limit) string {
		var longest words
		var most time.Duration
		for _, o := range of {
			if l, ok := o.p.last("timeout", o.name); ok {
				if t, ok := haproxyTime(l.arg(1)); ok && t > most {
					longest, most = l, t
				}
			}
		}
		if most == 0 {
			return ""
		}
		return h.seconds(longest.at, longest.String(), most)
	}
	v := read(limit{back, "tunnel"}, limit{front, "tunnel"})
	if v == "" {
		v = read(limit{front, "client"}, limit{back, "server"})
	}
	if v != "" {
		s.Timeouts["tcp_established"] = v
	}
	if v := read(limit{front, "client-fin"}, limit{back, "server-fin"}); v != "" {
		s.Timeouts["tcp_fin"] = v
	}
}

// sticky turns a stick table of clients.
func (h *haproxy) sticky(p *proxy, s *Service) {
	on, ok := p.last("stick", "on")
	if !ok {
		on, ok = p.last("stick", "match")
	}
	table, tabled := p.last("stick-table")
	if name, elsewhere := on.after("table"); elsewhere && h.proxies[name] != nil {
		table, tabled = h.proxies[name].last("stick-table")
	}
	switch {
	case !ok && tabled:
		h.note(table.at, table.String(), "xlb counts by source in rate_per_source alone")
	case !ok:
	case !slices.Contains([]string{"src", "src,ipmask(32)", "src,ipmask(24)"}, on.arg(1)):
		h.note(on.at, on.String(), "affinity is by the client's address")
	case on.has("if") || on.has("unless"):
		h.note(on.at, on.String(), "affinity is of all clients")
	default:
		s.Affinity = &Affinity{Timeout: "168h"} // as long as there is
		if e, ok := table.after("expire"); ok {
			if t, ok := haproxyTime(e); ok {
				s.Affinity.Timeout = h.seconds(table.at, "expire "+e, t)
			}
		}
		if strings.HasSuffix(on.arg(1), "ipmask(24)") {
			s.Affinity.IPv4 = 24
		}
	}
}

// read elsewhere, or of HAProxy itself (its logs, statistics and sockets), or
// without effect in mode tcp: nothing is to be said of these.
var haproxySilent = words{text: strings.Fields(`mode bind balance server server-template default-server default_backend use_backend acl maxconn
	tcp-request stick stick-table source retries disabled enabled http-check tcp-check hash-type
	description id guid log log-format log-format-sd log-tag log-steps error-log-format stats backlog bind-process grace
	load-server-state-from-file server-state-file-name unique-id-format unique-id-header external-check
	http-request http-response http-after-response http-error http-reuse http-send-name-header errorfile errorfiles errorloc errorloc302 errorloc303
	capture cookie appsession compression declare retry-on use-fcgi-app filter monitor-uri max-keep-alive-queue max-session-srv-conns
	reqadd reqallow reqdel reqdeny reqidel reqirep reqrep reqiadd rspadd rspdel rspidel rspirep rsprep block redirect clitcpka-cnt clitcpka-idle clitcpka-intvl
	srvtcpka-cnt srvtcpka-idle srvtcpka-intvl`)}

var haproxySilentOptions = words{text: strings.Fields(`tcplog httplog httpslog dontlognull dontlog-normal log-health-checks log-separate-errors logasap socket-stats
	contstats tcpka clitcpka srvtcpka splice-auto splice-request splice-response nolinger tcp-smart-accept tcp-smart-connect abortonclose
	redispatch allbackups httpchk mysql-check pgsql-check redis-check smtpchk ssl-hello-chk tcp-check ldap-check spop-check external-check
	httpclose http-server-close http-keep-alive http-tunnel http-pretend-keepalive http-no-delay http-buffer-request http-use-htx http-ignore-probes
	http-use-proxy-header http-restrict-req-hdr-names accept-invalid-http-request accept-invalid-http-response accept-unsafe-violations-in-http-request
	accept-unsafe-violations-in-http-response forceclose forwardfor forwarded originalto prefer-last-server independent-streams h1-case-adjust-bogus-client
	h1-case-adjust-bogus-server checkcache idle-close-on-response disable-h2-upgrade http_proxy`)}

var haproxyWhys = map[string]string{
	"tcp-response":       "xlb does not look into connections",
	"fullconn":           "weights do not depend on the load; see schedule: least-connections",
	"dispatch":           "name the server as a backend",
	"email-alert":        "see on_change: of probes",
	"rate-limit":         "see rate: and rate_per_source:",
	"monitor-net":        "who asks whether the balancer lives asks xlb status, or its metrics",
	"monitor":            "who asks whether the balancer lives asks xlb status, or its metrics",
	"use-server":         "steer: chooses backends by the client's address, a policy by what it likes",
	"force-persist":      "who must reach a drained backend goes there without the balancer",
	"ignore-persist":     "affinity is of all clients",
	"persist":            "affinity is by the client's address",
	"option persist":     "a backend that is down takes no connections",
	"transparent":        "xlb sends to its backends alone",
	"option transparent": "xlb sends to its backends alone",
	"timeout connect":    "clients try again by themselves after 1 s, 3 s, …; see syn_retry",
	"timeout queue":      "xlb keeps no queue: what cannot be served is sent to another or dropped",
}

// leftovers notes each line that nothing was made of.
func (h *haproxy) leftovers(front, back *proxy) {
	timeouts := []string{"client", "server", "tunnel", "client-fin", "server-fin", "check", "http-request", "http-keep-alive", "tarpit"}
	for _, l := range slices.Concat(front.lines, back.lines) {
		key := l.first()
		if key == "option" || key == "timeout" {
			key += " " + l.arg(0)
		}
		why, known := haproxyWhys[key]
		if !known {
			why = "is not known"
		}
		switch {
		case !known && haproxySilent.has(key):
		case !known && l.first() == "option" && haproxySilentOptions.has(l.arg(0)):
		case !known && l.first() == "timeout" && slices.Contains(timeouts, l.arg(0)):
		case l.first() == "no":
		default:
			h.note(l.at, l.String(), "%s", why)
		}
	}
}

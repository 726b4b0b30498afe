package importer

import (
	"slices"
	"strconv"
	"strings"
	"time"

	crossplane "github.com/nginxinc/nginx-go-crossplane"
)

func (n *nginx) options(server *crossplane.Directive, s *Service) {
	if d := n.get(server, "proxy_timeout"); d != nil {
		if t, ok := nginxTime(d.Args[0]); ok {
			v := n.seconds(n.at(d), text(d), t)
			s.Timeouts["tcp_established"], s.Timeouts["udp"] = v, v
		}
	} else {
		s.Timeouts["tcp_established"], s.Timeouts["udp"] = "10m", "10m" // nginx's default
	}
	if d := n.get(server, "proxy_next_upstream"); d == nil || d.Args[0] == "on" {
		s.SynRetry = 2
		if tries := n.get(server, "proxy_next_upstream_tries"); tries != nil {
			if k, err := strconv.Atoi(tries.Args[0]); err == nil && k > 0 {
				s.SynRetry = min(k-1, 3)
			}
		}
	}
	if d := n.get(server, "proxy_bind"); d != nil && d.Args[0] != "off" {
		if slices.Contains(d.Args, "transparent") {
			s.Forward = "dnat"
			s.SynRetry = min(s.SynRetry, 3)
		} else {
			n.note(n.at(d), text(d), "the addresses towards backends are those of all services: set sources: [%s] at the top of the file", d.Args[0])
		}
	}
	if d := n.get(server, "proxy_responses"); d != nil && d.Args[0] == "0" {
		n.note(n.at(d), text(d), "a UDP flow is remembered for timeouts.udp whatever the answers; where they go back directly, ops: true forgets it at once")
	} else if d != nil {
		n.note(n.at(d), text(d), "a UDP flow is remembered for timeouts.udp whatever the answers")
	}
}

// nginxSilent are read elsewhere, or of nginx's own logs, buffers and sockets, or
// of the TLS of a server that is left out if it speaks it.
var nginxSilent = strings.Fields(`listen proxy_pass upstream server allow deny resolver resolver_timeout proxy_timeout proxy_responses proxy_next_upstream
	proxy_next_upstream_tries proxy_bind proxy_ssl access_log error_log log_format open_log_file_cache tcp_nodelay proxy_buffer_size proxy_downstream_buffer
	proxy_upstream_buffer preread_buffer_size preread_timeout proxy_socket_keepalive proxy_half_close variables_hash_bucket_size
	variables_hash_max_size limit_conn_zone limit_conn_log_level limit_conn_status status_zone server_name server_names_hash_bucket_size
	server_names_hash_max_size proxy_protocol_timeout include`)

var nginxWhys = map[string]string{
	"proxy_protocol":              "xlb does not write into connections, and the servers must no longer expect it; forward: dnat and the DSR modes keep the client's address instead",
	"proxy_connect_timeout":       "clients try again by themselves after 1 s, 3 s, …: see syn_retry",
	"proxy_next_upstream_timeout": "clients try again by themselves after 1 s, 3 s, …: see syn_retry",
	"proxy_download_rate":         "xlb does not slow connections down",
	"proxy_upload_rate":           "xlb does not slow connections down",
	"proxy_requests":              "a UDP flow keeps its backend until timeouts.udp",
	"proxy_session_drop":          "what becomes of the connections of a backend that is gone is told in docs/ARCHITECTURE.md",
	"health_check":                "of nginx Plus; set probe:",
	"health_check_timeout":        "of nginx Plus; set probe:",
	"limit_conn":                  "xlb limits new connections a second of a source (rate_per_source), not how many it has",
	"limit_conn_dry_run":          "xlb limits new connections a second of a source (rate_per_source), not how many it has",
	"set_real_ip_from":            "xlb does not read the PROXY protocol",
	"ssl_preread":                 "the name in TLS is inside the connection, which begins at a backend before the name is known",
	"js_access":                   "a policy can decide on new flows (docs/guides/write-a-policy.md)",
	"js_filter":                   "xlb does not change what is in a connection",
	"js_preread":                  "xlb does not look into connections",
	"match":                       "of nginx Plus; see send: and expect: of probes",
	"pass":                        "xlb sends packets to backends",
	"return":                      "xlb answers nothing itself",
	"set":                         "variables of nginx are not known to xlb",
}

// leftover notes a directive that nothing was made of.
func (n *nginx) leftover(d *crossplane.Directive) {
	name := d.Directive
	why, known := nginxWhys[name]
	switch {
	case known && len(d.Args) > 0 && d.Args[0] == "off":
	case known:
		n.note(n.at(d), text(d), "%s", why)
	case slices.Contains(nginxSilent, name), strings.HasPrefix(name, "ssl_"), strings.HasPrefix(name, "proxy_ssl_"), strings.HasPrefix(name, "zone_sync"):
	case strings.HasPrefix(name, "js_"), strings.HasPrefix(name, "geoip_"):
		n.note(n.at(d), text(d), "variables of nginx are not known to xlb")
	default:
		n.note(n.at(d), text(d), "is not known")
	}
}

// rules turns allow and deny, of which in nginx the first that holds decides.
func (n *nginx) rules(server *crossplane.Directive, s *Service) {
	lines := server.Block
	has := func(d *crossplane.Directive) bool { return d.Directive == "allow" || d.Directive == "deny" }
	if !slices.ContainsFunc(lines, has) {
		lines = n.scope
	}
	var list []rule
	closed := false
	for i, d := range lines {
		if !has(d) || len(d.Args) == 0 || d.Args[0] == "unix:" {
			continue
		}
		if d.Args[0] == "all" {
			closed = d.Directive == "deny"
			if slices.ContainsFunc(lines[i+1:], has) {
				n.note(n.at(d), text(d), "what follows it has no effect in nginx, and was not taken")
			}
			break
		}
		list = append(list, rule{at: n.at(d), what: text(d), allow: d.Directive == "allow", from: d.Args[0]})
	}
	n.access(list, closed, s)
}

// nginxTime reads 10, 10s, 1m30s, 500ms, 1d.
func nginxTime(s string) (time.Duration, bool) {
	var total time.Duration
	units := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "": time.Second}
	for s != "" {
		i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		digits, rest := s, ""
		if i >= 0 {
			digits, rest = s[:i], s[i:]
		}
		v, err := strconv.Atoi(digits)
		if err != nil {
			return 0, false
		}
		j := strings.IndexFunc(rest, func(r rune) bool { return r >= '0' && r <= '9' })
		unit := rest
		if j >= 0 {
			unit = rest[:j]
		}
		u, ok := units[strings.TrimSpace(unit)]
		if !ok {
			return 0, false
		}
		total += time.Duration(v) * u
		s = rest[len(unit):]
	}
	return total, total > 0
}

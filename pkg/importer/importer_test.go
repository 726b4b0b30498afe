package importer_test

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/config"
	"github.com/xlb-io/xlb/pkg/importer"
)

var update = flag.Bool("update", false, "write what is made to testdata/*.yaml")

type readFunc func(path string, o importer.Options) (*importer.Result, error)

func ipvs(path string, o importer.Options) (*importer.Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return importer.IPVS(path, f, o)
}

var vips = importer.Options{
	Interfaces: []string{"eth0", "eth1"},
	VIPs:       []netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("2001:db8::10")},
}

// TestImport makes of files as people write them what stands beside them, which
// is a configuration that xlb takes.
func TestImport(t *testing.T) {
	for path, read := range map[string]readFunc{
		"nginx/nginx.conf":           importer.Nginx,
		"nginx/edge.conf":            importer.Nginx,
		"nginx/mixed.conf":           importer.Nginx,
		"nginx/access.conf":          importer.Nginx,
		"haproxy/haproxy.cfg":        importer.HAProxy,
		"haproxy/galera.cfg":         importer.HAProxy,
		"haproxy/old.cfg":            importer.HAProxy,
		"haproxy/tls.cfg":            importer.HAProxy,
		"haproxy/checks.cfg":         importer.HAProxy,
		"keepalived/keepalived.conf": importer.Keepalived,
		"keepalived/pages.conf":      importer.Keepalived,
		"keepalived/groups.conf":     importer.Keepalived,
		"keepalived/kinds.conf":      importer.Keepalived,
		"ipvs/saved":                 ipvs,
		"ipvs/tunnels":               ipvs,
		"ipvs/ipv6":                  ipvs,
		"ipvs/script":                ipvs,
	} {
		t.Run(path, func(t *testing.T) {
			result, err := read(filepath.Join("testdata", path), vips)
			if err != nil {
				t.Fatal(err)
			}
			got, err := result.YAML()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := config.Parse("made.yaml", got); err != nil {
				t.Errorf("xlb does not take it:\n%v", err)
			}
			golden := filepath.Join("testdata", path+".yaml")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("-want +got (go test ./pkg/importer -update):\n%s", d)
			}
		})
	}
}

// write makes a file of a test.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// services is what is made of a text, without its notes.
func services(t *testing.T, read readFunc, text string) (string, []string) {
	t.Helper()
	result, err := read(write(t, text), vips)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := result.YAML(); err != nil { // which sorts the notes
		t.Fatal(err)
	}
	var notes []string
	for _, n := range result.Notes {
		notes = append(notes, n.String())
	}
	result.Notes = nil
	yaml, err := result.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Services) > 0 {
		if _, err := config.Parse("result", yaml); err != nil {
			t.Errorf("xlb does not take it:\n%v\n%s", err, yaml)
		}
	}
	_, body, _ := strings.Cut(string(yaml), "services:")
	return body, notes
}

// TestSettings looks at single settings: what is in the service, or noted, or
// neither.
func TestSettings(t *testing.T) {
	nginx := func(upstream, server string) string {
		return "events {}\nstream {\nupstream u {\n" + upstream + "\n}\nserver {\nlisten 203.0.113.1:80;\nproxy_pass u;\n" + server + "\n}\n}\n"
	}
	proxy := func(lines string) string {
		return "listen l\nbind 203.0.113.1:80\n" + lines + "\nserver a 10.0.0.1:80\n"
	}
	virtual := func(lines string) string {
		return "virtual_server 203.0.113.1 80 {\n" + lines + "\nreal_server 10.0.0.1 80 {\n}\n}\n"
	}
	for name, one := range map[string]struct {
		read        readFunc
		text        string
		want, lacks []string
		notes       []string // one each, in order of their lines
	}{
		"nginx: backup and down":     {importer.Nginx, nginx("server 10.0.0.1:80 backup;\nserver 10.0.0.2:80 down weight=3;", ""), []string{"priority: 1", "weight: 3", "drain: true"}, nil, nil},
		"nginx: no failures counted": {importer.Nginx, nginx("server 10.0.0.1:80 max_fails=0;", ""), nil, []string{"eject"}, nil},
		"nginx: every failure":       {importer.Nginx, nginx("server 10.0.0.1:80;", ""), []string{"eject: {consecutive: 1, time: 10s}", "syn_retry: 2"}, nil, nil},
		"nginx: no next":             {importer.Nginx, nginx("server 10.0.0.1:80;", "proxy_next_upstream off;"), nil, []string{"syn_retry"}, nil},
		"nginx: two tries":           {importer.Nginx, nginx("server 10.0.0.1:80;", "proxy_next_upstream_tries 2;"), []string{"syn_retry: 1"}, nil, nil},
		"nginx: random two":          {importer.Nginx, nginx("random two least_conn;\nserver 10.0.0.1:80;", ""), []string{"schedule: least-connections"}, nil, nil},
		"nginx: random":              {importer.Nginx, nginx("random;\nserver 10.0.0.1:80;", ""), []string{"schedule: random"}, nil, nil},
		"nginx: all of the tuple":    {importer.Nginx, nginx("hash $remote_addr$remote_port;\nserver 10.0.0.1:80;", ""), []string{"schedule: maglev"}, []string{"hash:"}, nil},
		"nginx: hash of a header":    {importer.Nginx, nginx("hash $ssl_preread_server_name;\nserver 10.0.0.1:80;", ""), []string{"schedule: maglev"}, nil, []string{"xlb hashes addresses and ports"}},
		"nginx: transparent":         {importer.Nginx, nginx("server 10.0.0.1:80;", "proxy_bind $remote_addr transparent;"), []string{"forward: dnat"}, nil, nil},
		"nginx: denied all":          {importer.Nginx, nginx("server 10.0.0.1:80;", "deny all;"), []string{`deny: [0.0.0.0/0, "::/0"]`}, []string{"allow"}, nil},
		"nginx: service record":      {importer.Nginx, nginx("server example.com:80 service=http resolve;", ""), []string{"type: srv", "name: _http._tcp.example.com"}, []string{"port:"}, nil},
		"nginx: a minute and a half": {importer.Nginx, nginx("server 10.0.0.1:80;", "proxy_timeout 1m30s;"), []string{"tcp_established: 1m30s"}, nil, nil},
		"nginx: the other family":    {importer.Nginx, nginx("server 10.0.0.1:80;\nserver [2001:db8::1]:80;", ""), []string{"10.0.0.1:80"}, []string{"2001:db8::1"}, []string{"nat does not translate"}},
		"nginx: twice":               {importer.Nginx, nginx("server 10.0.0.1:80;\nserver 10.0.0.1:80;", ""), nil, nil, []string{"stands here twice"}},
		"nginx: a variable":          {importer.Nginx, "stream {\nserver {\nlisten 80;\nproxy_pass $name;\n}\n}\n", nil, nil, []string{"the service is left out"}},

		"haproxy: nothing checked":     {importer.HAProxy, proxy(""), []string{"probe: {type: none}"}, nil, nil},
		"haproxy: roundrobin":          {importer.HAProxy, proxy("balance roundrobin"), []string{"schedule: round-robin"}, nil, nil},
		"haproxy: random":              {importer.HAProxy, proxy("balance random"), []string{"schedule: least-connections"}, nil, nil},
		"haproxy: random of one":       {importer.HAProxy, proxy("balance random(1)"), []string{"schedule: random"}, nil, nil},
		"haproxy: uri":                 {importer.HAProxy, proxy("balance uri"), []string{"schedule: maglev"}, nil, []string{"it needs what is in the connection"}},
		"haproxy: client's address":    {importer.HAProxy, proxy("source 0.0.0.0 usesrc clientip"), []string{"forward: dnat"}, nil, nil},
		"haproxy: milliseconds":        {importer.HAProxy, proxy("timeout client 50000\ntimeout server 30000"), []string{"tcp_established: 50s"}, nil, nil},
		"haproxy: half a second":       {importer.HAProxy, proxy("timeout client 500"), []string{"tcp_established: 1s"}, nil, []string{"whole seconds"}},
		"haproxy: admitted only":       {importer.HAProxy, proxy("tcp-request connection reject if !{ src 10.0.0.0/8 }"), []string{"allow: [10.0.0.0/8]"}, []string{"deny"}, nil},
		"haproxy: unless":              {importer.HAProxy, proxy("acl lan src 10.0.0.0/8 -f testdata/haproxy/lan.lst\ntcp-request connection reject unless lan"), []string{"allow: [10.0.0.0/8, testdata/haproxy/lan.lst]"}, nil, nil},
		"haproxy: rate":                {importer.HAProxy, proxy("tcp-request connection reject if { src_conn_rate gt 10 }"), nil, []string{"deny"}, []string{"new connections a second"}},
		"haproxy: https":               {importer.HAProxy, "listen l\nbind 203.0.113.1:443\noption httpchk\nserver a 10.0.0.1:443 check check-ssl verify none\n", []string{"type: https", "method: OPTIONS", "verify: false"}, nil, nil},
		"haproxy: mysql":               {importer.HAProxy, "listen l\nbind 203.0.113.1:3306\noption mysql-check\nserver a 10.0.0.1:3306 check inter 500\n", []string{"type: mysql", "interval: 500ms"}, nil, nil},
		"haproxy: observed":            {importer.HAProxy, "listen l\nbind 203.0.113.1:80\nserver a 10.0.0.1:80 check observe layer4 error-limit 5\n", []string{"eject: {consecutive: 5"}, nil, nil},
		"haproxy: send and expect":     {importer.HAProxy, "listen l\nbind 203.0.113.1:21\noption tcp-check\ntcp-check expect string 220\ntcp-check send QUIT\\r\\n\nserver a 10.0.0.1:21 check\n", []string{"type: send-expect", `send: "QUIT\\r\\n"`, "220"}, nil, nil},
		"haproxy: named defaults":      {importer.HAProxy, "defaults a\ntimeout client 7s\ndefaults b\ntimeout client 9s\nlisten l from a\nbind 203.0.113.1:80\nserver a 10.0.0.1:80\n", []string{"tcp_established: 7s"}, nil, nil},
		"haproxy: several ports":       {importer.HAProxy, "listen l\nbind 203.0.113.1:80-82\nserver a 10.0.0.1:80\n", []string{"tcp://203.0.113.1:80", "tcp://203.0.113.1:82"}, nil, nil},
		"haproxy: both families":       {importer.HAProxy, "listen l\nbind :::80 v4v6\nserver a 10.0.0.1:80\nserver b [2001:db8::1]:80\n", []string{"l-ipv6:", "tcp://203.0.113.10:80", "tcp://[2001:db8::10]:80"}, nil, []string{"does not translate", "does not translate"}},
		"haproxy: quoted":              {importer.HAProxy, "listen l # a comment\nbind 203.0.113.1:80\n# another\nserver 'a b' \"10.0.0.1\":80 weight 7\n", []string{"weight: 7"}, nil, nil},
		"haproxy: frontend of nothing": {importer.HAProxy, "frontend f\nbind 203.0.113.1:80\n", nil, nil, []string{"it has no default_backend; the service is left out"}},

		"haproxy: a server's name":     {importer.HAProxy, "listen l\nbind 203.0.113.1:80\nserver backup 10.0.0.1:80\nserver disabled 10.0.0.2:80\n", nil, []string{"priority", "drain"}, nil},
		"haproxy: backups in turn":     {importer.HAProxy, "listen l\nbind 203.0.113.1:80\nserver a 10.0.0.1:80\nserver b 10.0.0.2:80 backup\nserver c 10.0.0.3:80 backup\n", []string{"10.0.0.2:80\n        priority: 1", "10.0.0.3:80\n        priority: 2"}, nil, nil},
		"haproxy: backups at once":     {importer.HAProxy, "listen l\nbind 203.0.113.1:80\noption allbackups\nserver a 10.0.0.1:80\nserver b 10.0.0.2:80 backup\nserver c 10.0.0.3:80 backup\n", []string{"10.0.0.3:80\n        priority: 1"}, nil, nil},
		"haproxy: no option":           {importer.HAProxy, "defaults\noption redispatch\nlisten l\nbind 203.0.113.1:80\nno option redispatch\nserver a 10.0.0.1:80\n", nil, []string{"syn_retry"}, nil},
		"haproxy: the last check":      {importer.HAProxy, "defaults\noption httpchk GET /\nlisten l\nbind 203.0.113.1:80\noption tcp-check\nserver a 10.0.0.1:80 check\n", []string{"type: tcp"}, []string{"path", "method"}, nil},
		"haproxy: with an address":     {importer.HAProxy, "listen l 203.0.113.1:80\nclitimeout 7000\nserver a 10.0.0.1:80\n", []string{"tcp://203.0.113.1:80", "tcp_established: 7s"}, nil, nil},
		"haproxy: encrypted to server": {importer.HAProxy, proxy("server b 10.0.0.2:443 ssl verify none"), nil, nil, []string{"HAProxy speaks TLS to b here; xlb passes on what the client sends; the service is left out"}},
		"haproxy: disabled":            {importer.HAProxy, proxy("disabled"), nil, nil, []string{"it is disabled; the service is left out"}},
		"haproxy: some, then nobody":   {importer.HAProxy, proxy("tcp-request connection accept if { src 10.0.0.0/8 }\ntcp-request connection reject"), []string{"allow: [10.0.0.0/8]"}, []string{"deny"}, nil},
		"haproxy: of those not some":   {importer.HAProxy, proxy("acl lan src 10.0.0.0/8 192.0.2.0/255.255.255.0\ntcp-request content reject if !lan\ntcp-request content reject if { src 10.1.0.0/16 } or { src 192.0.2.0/24 }"), []string{"allow: [10.0.0.0/8]", "deny: [10.1.0.0/16, 192.0.2.0/24]"}, nil, nil},
		"haproxy: unless not":          {importer.HAProxy, proxy("acl bad src 10.6.0.0/16\ntcp-request connection reject unless !bad"), []string{"deny: [10.6.0.0/16]"}, []string{"allow"}, nil},
		"haproxy: who speaks TLS":      {importer.HAProxy, proxy("tcp-request inspect-delay 5s\ntcp-request content accept if { req_ssl_hello_type 1 }\ntcp-request content reject"), nil, []string{"deny"}, []string{"xlb does not look into connections", "xlb does not look into connections"}},
		"haproxy: a name in an acl":    {importer.HAProxy, proxy("tcp-request connection reject if { src example.com }"), nil, []string{"deny"}, []string{"names are not looked up"}},
		"haproxy: what is not known":   {importer.HAProxy, proxy("wibble 3\noption wobble"), nil, nil, []string{"wibble 3: is not known", "option wobble: is not known"}},
		"haproxy: a server's unknowns": {importer.HAProxy, proxy("default-server wibble\nserver b 10.0.0.2:80\nserver c 10.0.0.3:80"), nil, nil, []string{":3: server … wibble: is not known"}},
		"haproxy: another check":       {importer.HAProxy, "listen l\nbind 203.0.113.1:80\nserver a 10.0.0.1:80 check port 81\nserver b 10.0.0.2:80 check port 82\n", []string{"port: 81"}, nil, []string{"its check differs from that of a"}},
		"haproxy: a faster interval":   {importer.HAProxy, "listen l\nbind 203.0.113.1:80\nserver a 10.0.0.1:80 check inter 5s downinter 1s\n", []string{"interval: 5s, interval_failing: 1s, timeout: 1s"}, nil, nil},
		"haproxy: a quote expected":    {importer.HAProxy, "listen l\nbind 203.0.113.1:80\noption tcp-check\ntcp-check connect port 81 ssl\ntcp-check expect string '\"ok\" \\'\nserver a 10.0.0.1:80 check\n", []string{"port: 81", `expect: "\"ok\" \\\\"`, "tls: true"}, nil, nil},
		"haproxy: HTTPS elsewhere":     {importer.HAProxy, "listen l\nbind 203.0.113.1:80\noption httpchk\nhttp-check connect port 8443 ssl sni www.example.com\nhttp-check send meth GET uri /h hdr Host www.example.com:8443 hdr X-Y 1\nserver a 10.0.0.1:80 check\n", []string{"type: https, port: 8443, method: GET, path: /h, host: www.example.com, verify: false, server_name: www.example.com"}, nil, []string{"X-Y: 1: a probe sends no headers but Host"}},
		"haproxy: ports kept":          {importer.HAProxy, "listen l\nbind 203.0.113.1:80,203.0.113.1:443\nserver a 10.0.0.1\nserver b b.example.com\n", []string{"10.0.0.1:80", "l-443:\n    frontends: [\"tcp://203.0.113.1:443\"]", "10.0.0.1:443"}, nil, nil},
		"haproxy: a stick table there": {importer.HAProxy, "backend t\nstick-table type ip size 1m expire 5m\n" + proxy("stick on src table t"), []string{"affinity: {timeout: 5m}"}, nil, nil},
		"haproxy: the same address":    {importer.HAProxy, proxy("") + "listen m\nbind 203.0.113.1:80\nbind 203.0.113.1:81\nserver a 10.0.0.1:80\n", []string{"203.0.113.1:81"}, nil, []string{"it is a frontend of l (file:1) already"}},
		"haproxy: this host alone":     {importer.HAProxy, "listen l\nbind 127.0.0.1:80\nserver a 10.0.0.1:80\nlisten m\nbind localhost:80\nserver a 10.0.0.1:80\n", nil, nil, []string{"a loopback address never leaves its host", "no address left", "it binds no address", "xlb needs the address itself"}},
		"haproxy: a bare IPv6 server":  {importer.HAProxy, "listen l\nbind ipv6@:80\nserver a fd00::1:8080\n", []string{`"[fd00::1]:8080"`, "[2001:db8::10]:80"}, nil, nil},

		"nginx: of the stream block":   {importer.Nginx, "stream {\nproxy_protocol on;\nproxy_connect_timeout 1s;\nserver {\nlisten 203.0.113.1:80;\nproxy_pass 10.0.0.1:80;\n}\n}\n", nil, nil, []string{":2: proxy_protocol on: ", ":3: proxy_connect_timeout 1s: "}},
		"nginx: what is not known":     {importer.Nginx, nginx("wibble;\nserver 10.0.0.1:80 wobble=1;", "wubble on;"), nil, nil, []string{"wibble: is not known", "wobble=1: is not known", "wubble on: is not known"}},
		"nginx: failures that differ":  {importer.Nginx, nginx("server 10.0.0.1:80 max_fails=3 fail_timeout=30s;\nserver 10.0.0.2:80;", ""), []string{"eject: {consecutive: 3, time: 30s}"}, nil, []string{":5: server 10.0.0.2:80: eject is of a service: consecutive: 3 and time: 30s, where this server has 1 and 10s"}},
		"nginx: a name to listen at":   {importer.Nginx, "stream {\nserver {\nlisten localhost:80;\nproxy_pass 10.0.0.1:80;\n}\n}\n", nil, nil, []string{"it listens nowhere that packets come to; the service is left out", `"localhost" is not an IP address`}},
		"nginx: no such upstream":      {importer.Nginx, "stream {\nserver {\nlisten 203.0.113.1:80;\nproxy_pass u;\n}\n}\n", nil, nil, []string{"proxy_pass u: it is no address or name with a port; the service is left out"}},
		"nginx: the first rule":        {importer.Nginx, nginx("server 10.0.0.1:80;", "deny 10.1.0.1;\nallow 10.1.0.0/16;\ndeny 10.1.2.0/24;\nallow 10.9.9.9/8;\ndeny all;"), []string{"allow: [10.1.0.0/16, 10.0.0.0/8]", "deny: [10.1.0.1]"}, nil, []string{"deny 10.1.2.0/24: what stands before it decides"}},
		"nginx: allowed as all":        {importer.Nginx, nginx("server 10.0.0.1:80;", "allow 10.0.0.0/8;"), nil, []string{"allow"}, nil},
		"nginx: a record's whole name": {importer.Nginx, nginx("resolver 10.0.0.2 valid=1m;\nserver example.com service=_mqtt._tcp resolve;", ""), []string{"name: _mqtt._tcp.example.com", `servers: ["10.0.0.2:53"]`, "min_ttl: 1m\n        max_ttl: 1m"}, nil, nil},

		"keepalived: the method's default": {importer.Keepalived, virtual(""), []string{"forward: dnat", "schedule: least-connections"}, nil, nil},
		"keepalived: direct":               {importer.Keepalived, virtual("lvs_method DR\nlvs_sched mh"), []string{"forward: l2dsr", "schedule: maglev", "hash: source"}, nil, nil},
		"keepalived: tunnel":               {importer.Keepalived, virtual("lb_kind TUN"), []string{"forward: ipip"}, nil, nil},
		"keepalived: gue":                  {importer.Keepalived, virtual("lb_kind TUN type gue port 6080"), []string{"forward: gue"}, nil, nil},
		"keepalived: persistent":           {importer.Keepalived, virtual("persistence_timeout 50"), []string{"affinity: {timeout: 50s}"}, nil, nil},
		"keepalived: sctp":                 {importer.Keepalived, virtual("protocol SCTP"), nil, nil, []string{"xlb balances TCP and UDP"}},
		"keepalived: sorry":                {importer.Keepalived, virtual("sorry_server 10.0.0.9 80"), []string{"10.0.0.9:80\n        priority: 1"}, nil, nil},
		"keepalived: another port with DR": {importer.Keepalived, virtual("lb_kind DR\nreal_server 10.0.0.2 81 { }"), []string{"10.0.0.1:80"}, []string{"10.0.0.2"}, []string{"l2dsr keeps the port"}},
		"keepalived: ssl":                  {importer.Keepalived, "virtual_server 203.0.113.1 443 {\ndelay_loop 10\nreal_server 10.0.0.1 443 {\nSSL_GET {\nurl {\npath /\ndigest 640205b7b0fc66c1ea91c463fac6334d\n}\n}\n}\n}\n", []string{"type: https", "verify: false", "interval: 10s"}, nil, []string{"not for a digest"}},
		"keepalived: dns":                  {importer.Keepalived, "virtual_server 203.0.113.1 53 {\nprotocol UDP\nreal_server 10.0.0.1 53 {\nDNS_CHECK {\ntype a\nname example.com\n}\n}\n}\n", []string{"type: dns", "query: example.com", "query_type: A"}, nil, nil},
		"keepalived: dns root":             {importer.Keepalived, "virtual_server 203.0.113.1 53 {\nprotocol UDP\nreal_server 10.0.0.1 53 {\nDNS_CHECK {\n}\n}\n}\n", []string{"query: .", "query_type: SOA"}, nil, nil},
		"keepalived: quorum":               {importer.Keepalived, virtual("quorum 2"), nil, nil, []string{"panic_threshold"}},
		"keepalived: what is not known":    {importer.Keepalived, "wibble {\n}\n" + virtual("wobble 1\nreal_server 10.0.0.2 80 {\nwubble\nTCP_CHECK {\nwabble\n}\n}"), nil, nil, []string{"wibble: is not known", "wobble 1: is not known", "wubble: is not known", "wabble: is not known"}},
		"keepalived: definitions":          {importer.Keepalived, "$VIP=203.0.113.9\n$NET = 10.3.0\nvirtual_server ${VIP} 80 {\nreal_server $NET.7 80 {\n}\n}\n", []string{"tcp://203.0.113.9:80", "10.3.0.7:80"}, nil, nil},
		"keepalived: marks alone":          {importer.Keepalived, "virtual_server_group g {\nfwmark 1\n}\nvirtual_server group g {\nreal_server 10.0.0.1 80 {\n}\n}\n", nil, nil, []string{"mark of the firewall", "its group has no address and port; the service is left out"}},
		"keepalived: every port":           {importer.Keepalived, "virtual_server 203.0.113.1 0 {\nreal_server 10.0.0.1 0 {\n}\n}\n", nil, nil, []string{"port 0 is all of them", "the service is left out"}},
		"keepalived: a sorry server here":  {importer.Keepalived, virtual("sorry_server 127.0.0.1 80"), []string{"10.0.0.1:80"}, []string{"127.0.0.1"}, []string{"a loopback address never leaves its host"}},
		"keepalived: itself":               {importer.Keepalived, virtual("real_server 203.0.113.1 80 {\n}"), []string{"10.0.0.1:80"}, nil, []string{"203.0.113.1:80: it is a frontend of the same service"}},
		"keepalived: weights of all":       {importer.Keepalived, virtual("weight 7"), []string{"weight: 7"}, nil, nil},
		"keepalived: one directly":         {importer.Keepalived, virtual("real_server 10.0.0.2 80 {\nlvs_method DR\n}"), []string{"10.0.0.1:80"}, []string{"10.0.0.2"}, []string{"its lvs_method DR differs"}},
		"keepalived: gre":                  {importer.Keepalived, virtual("lb_kind TUN type gre"), nil, nil, []string{"there is no such mode of forwarding; the service is left out"}},
		"keepalived: retries":              {importer.Keepalived, virtual("retry 4\nreal_server 10.0.0.2 80 {\nTCP_CHECK {\nretry 0\nconnect_timeout 2\n}\n}"), []string{"fall: 1}"}, nil, nil},
		"keepalived: retries unsaid":       {importer.Keepalived, virtual("real_server 10.0.0.2 80 {\nTCP_CHECK {\n}\n}"), []string{"interval: 1m, timeout: 5s, rise: 1, fall: 2}"}, nil, nil},
		"keepalived: codes":                {importer.Keepalived, virtual("real_server 10.0.0.2 80 {\nHTTP_GET {\nurl {\npath /a\nstatus_code 200 300-302\n}\n}\n}"), []string{"status: [200, 300-302]"}, nil, nil},
		"keepalived: hash with ports":      {importer.Keepalived, virtual("lb_algo sh\nsh-port\nsh-fallback"), []string{"schedule: maglev"}, []string{"hash"}, nil},
		"ipvs: failover":                   {ipvs, "-A -t 203.0.113.1:80 -s fo\n-a -t 203.0.113.1:80 -r 10.0.0.1:80 -w 1\n-a -t 203.0.113.1:80 -r 10.0.0.2:80 -w 9\n", []string{"10.0.0.1:80\n        priority: 1", "10.0.0.2:80\n        weight: 9\n    probe"}, nil, nil},
		"ipvs: gre":                        {ipvs, "-A -t 203.0.113.1:80 -s rr\n-a -t 203.0.113.1:80 -r 10.0.0.1:80 -i --tun-type gre\n", nil, nil, []string{"no server of it can be", "xlb wraps packets by ipip or gue"}},
		"ipvs: the scheduler's default":    {ipvs, "-A -t 203.0.113.1:80\n-a -t 203.0.113.1:80 -r 10.0.0.1:80\n", []string{"schedule: least-connections", "forward: l2dsr"}, nil, nil},
		"ipvs: with the command before it": {ipvs, "ipvsadm -A -t 203.0.113.1:80 -s rr\nipvsadm -a -t 203.0.113.1:80 -r 10.0.0.1:81 -m\n", []string{"10.0.0.1:81", "forward: dnat"}, nil, nil},
		"ipvs: long flags":                 {ipvs, "--add-service --tcp-service 203.0.113.1:80 --scheduler wrr\n--add-server --tcp-service 203.0.113.1:80 --real-server 10.0.0.1:80 --ipip --weight 4\n", []string{"weight: 4", "forward: ipip", "round-robin"}, nil, nil},
		"ipvs: two modes":                  {ipvs, "-A -t 203.0.113.1:80 -s rr\n-a -t 203.0.113.1:80 -r 10.0.0.1:80 -g\n-a -t 203.0.113.1:80 -r 10.0.0.2:80 -m\n", []string{"10.0.0.1:80"}, []string{"10.0.0.2"}, []string{"its mode is dnat"}},
		"ipvs: every port":                 {ipvs, "-A -t 203.0.113.1:0 -s rr -p 300\n", nil, nil, []string{"port 0 is all of them"}},
		"ipvs: one packet, masqueraded":    {ipvs, "-A -u 203.0.113.1:53 -s rr -o\n-a -u 203.0.113.1:53 -r 10.0.0.1:53 -m\n", nil, []string{"ops"}, []string{"dnat needs the flow's record"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, notes := services(t, one.read, one.text)
			for _, w := range one.want {
				if !strings.Contains(got, w) {
					t.Errorf("%q is missing in%s", w, got)
				}
			}
			for _, w := range one.lacks {
				if strings.Contains(got, w) {
					t.Errorf("%q is in%s", w, got)
				}
			}
			if len(notes) != len(one.notes) {
				t.Fatalf("notes %q, want %q", notes, one.notes)
			}
			for i, n := range notes {
				if !strings.Contains(n, one.notes[i]) {
					t.Errorf("note %q lacks %q", n, one.notes[i])
				}
			}
		})
	}
}

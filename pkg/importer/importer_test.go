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
	for name, one := range map[string]struct {
		read readFunc
		path string
	}{
		"nginx":      {importer.Nginx, "testdata/nginx/nginx.conf"},
		"haproxy":    {importer.HAProxy, "testdata/haproxy/haproxy.cfg"},
		"keepalived": {importer.Keepalived, "testdata/keepalived/keepalived.conf"},
		"ipvs":       {ipvs, "testdata/ipvs/saved"},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := one.read(one.path, vips)
			if err != nil {
				t.Fatal(err)
			}
			got, err := result.YAML()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := config.Parse(name+".yaml", got); err != nil {
				t.Errorf("xlb does not take it:\n%v", err)
			}
			golden := filepath.Join("testdata", name+".yaml")
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

		"keepalived: the method's default": {importer.Keepalived, virtual(""), []string{"forward: dnat", "schedule: round-robin"}, nil, nil},
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

func TestMistakes(t *testing.T) {
	none := importer.Options{Interfaces: []string{"eth0"}}
	for name, one := range map[string]struct {
		read readFunc
		text string
		want string
	}{
		"nginx without stream":   {importer.Nginx, "events {}\nhttp {}\n", ":1: there is no stream"},
		"nginx: unclosed":        {importer.Nginx, "stream {\nserver {\n", "nginx configuration: "},
		"nginx: any address":     {importer.Nginx, "stream {\nserver {\nlisten 80;\nproxy_pass 10.0.0.1:80;\n}\n}\n", ":3: listen 80 listens on any address, and xlb needs to know which: give an IPv4 address with --vip"},
		"nginx: a name":          {importer.Nginx, "stream {\nserver {\nlisten example.com:80;\nproxy_pass 10.0.0.1:80;\n}\n}\n", `:3: listen example.com:80: "example.com" is not an IP address`},
		"nginx: no port":         {importer.Nginx, "stream {\nserver {\nlisten 10.0.0.1;\nproxy_pass 10.0.0.1:80;\n}\n}\n", "is not a port"},
		"haproxy: nothing":       {importer.HAProxy, "global\n", ":1: there is neither listen nor frontend"},
		"haproxy: open quote":    {importer.HAProxy, "listen 'a\n", ":1: the quote ' is not closed"},
		"haproxy: no backend":    {importer.HAProxy, "frontend f\nbind 203.0.113.1:80\ndefault_backend b\n", `:3: there is no backend "b"`},
		"haproxy: port 70000":    {importer.HAProxy, "listen l\nbind 203.0.113.1:70000\nserver a 10.0.0.1:80\n", `:2: bind 203.0.113.1:70000: "70000" is not a port from 1 to 65535`},
		"keepalived: nothing":    {importer.Keepalived, "global_defs {\n}\n", ":1: there is no virtual_server"},
		"keepalived: unclosed":   {importer.Keepalived, "a {\nvirtual_server 203.0.113.1 80 {\n", ":2: virtual_server 203.0.113.1 80 { is not closed"},
		"keepalived: overclosed": {importer.Keepalived, "a {\n}\n}\n", ":3: a } closes nothing"},
		"keepalived: include":    {importer.Keepalived, "include nowhere.conf\n", ":1: include "},
		"keepalived: no group":   {importer.Keepalived, "virtual_server group g {\n}\n", `:1: there is no virtual_server_group "g"`},
		"keepalived: no port":    {importer.Keepalived, "virtual_server 203.0.113.1 {\n}\n", "a frontend needs a port"},
		"ipvs: nothing":          {ipvs, "\n", ":1: there is no virtual service"},
		"ipvs: a table":          {ipvs, "IP Virtual Server version 1.2.1\n", ":1: IP Virtual Server version 1.2.1: only -A and -a are expected"},
		"ipvs: server of nobody": {ipvs, "-a -t 203.0.113.1:80 -r 10.0.0.1:80 -g\n", ":1: "},
		"ipvs: names":            {ipvs, "-A -t www:http -s rr\n", "save with ipvsadm-save -n"},
		"no file": {func(_ string, o importer.Options) (*importer.Result, error) {
			return importer.HAProxy("/nonexistent", o)
		}, "", "no such file"},
		"keepalived in a circle":  {func(path string, o importer.Options) (*importer.Result, error) { return importer.Keepalived(path, o) }, "include file\n", "nested more than 16 deep"},
		"ipvs: an unclosed quote": {ipvs, "-A 'x\n", ":1: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := one.read(write(t, one.text), none)
			if err == nil || !strings.Contains(err.Error(), one.want) {
				t.Errorf("error %v, want %q", err, one.want)
			}
		})
	}
}

// FuzzImport: whatever a file holds, there is a result that can be printed, or an
// error.
func FuzzImport(f *testing.F) {
	for i, path := range []string{"testdata/nginx/conf.d/dns.stream", "testdata/haproxy/haproxy.cfg", "testdata/keepalived/keepalived.conf", "testdata/ipvs/saved"} {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i, string(data))
	}
	reads := []readFunc{importer.Nginx, importer.HAProxy, importer.Keepalived, ipvs}
	f.Fuzz(func(t *testing.T, which int, text string) {
		if strings.Contains(text, "include") {
			return // of whatever this machine has
		}
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		result, err := reads[uint(which)%uint(len(reads))](path, vips)
		if err != nil {
			return
		}
		if _, err := result.YAML(); err != nil {
			t.Error(err)
		}
	})
}

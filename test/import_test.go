package test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// TestImport turns the files of other balancers, of this network's addresses, into
// configurations, and runs them: clients reach the backends that the other
// balancer would have sent them to.
func TestImport(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		name, from string
		topology   testlab.TopologyOptions
		text       string
		// reached are the backends that answer, by their place, and state what the
		// others are in.
		reached []int
		forward string
	}{
		{"nginx", "nginx", testlab.TopologyOptions{Backends: 3}, `
stream {
    upstream web {
        least_conn;
        server {b0}:8080 max_fails=2 fail_timeout=5s;
        server {b1}:8080;
        server {b2}:8080 backup;
    }
    server {
        listen 8080;
        proxy_pass web;
        proxy_timeout 30s;
    }
}`, []int{0, 1}, "nat"},
		{"haproxy", "haproxy", testlab.TopologyOptions{Backends: 3}, `
defaults
    mode tcp
    timeout client 30s
    timeout server 30s

frontend web
    bind {vip}:8080
    acl clients src {client}
    tcp-request connection accept if clients
    tcp-request connection reject
    default_backend servers

backend servers
    balance roundrobin
    option httpchk GET /
    default-server inter 200ms rise 1 fall 2
    server a {b0}:8080 check
    server backup {b1}:8080 check weight 2
    server c {b2}:8080 check disabled
`, []int{0, 1}, "nat"},
		{"keepalived", "keepalived", testlab.TopologyOptions{Shape: testlab.OneArm, Backends: 3, BackendsHoldVIPs: true}, `
virtual_server {vip} 8080 {
    delay_loop 1
    lb_algo wrr
    lb_kind DR
    protocol TCP
    sorry_server {b2} 8080
    real_server {b0} 8080 {
        weight 1
        TCP_CHECK {
            connect_timeout 1
        }
    }
    real_server {b1} 8080 {
        weight 2
        TCP_CHECK {
            connect_timeout 1
        }
    }
}`, []int{0, 1}, "l2dsr"},
		{"ipvs", "ipvs", testlab.TopologyOptions{Shape: testlab.OneArm, Backends: 3, BackendsHoldVIPs: true}, `
-A -t {vip}:8080 -s wlc
-a -t {vip}:8080 -r {b0}:8080 -g -w 1
-a -t {vip}:8080 -r {b1}:8080 -g -w 3
-a -t {vip}:8080 -r {b2}:8080 -g -w 0
`, []int{0, 1}, "l2dsr"},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, one.topology)
			theirs := filepath.Join(n.dir, "theirs")
			text := strings.NewReplacer("{vip}", n.VIP4.String(), "{client}", n.Client4.String(), "{b0}", n.Backends[0].IP4.String(), "{b1}", n.Backends[1].IP4.String(), "{b2}", n.Backends[2].IP4.String()).Replace(one.text)
			if err := os.WriteFile(theirs, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"import", one.from, theirs, "--vip", n.VIP4.String(), "-o", n.configPath()}
			for _, i := range n.Interfaces {
				args = append(args, "-i", i)
			}
			if _, stderr, code := n.try(args...); code != 0 {
				t.Fatalf("import: status %d: %s", code, stderr)
			}
			n.start()
			front := netip.AddrPortFrom(n.VIP4, httpPort)
			want := map[string]bool{}
			for _, i := range one.reached {
				want[n.http[i].Name] = true
			}
			got := map[string]int{}
			for range 60 {
				who, err := n.get(front, 5*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				got[who]++
			}
			for who := range got {
				if !want[who] {
					t.Errorf("%s answered, which stands by or is drained: %v", who, got)
				}
			}
			if len(got) != len(want) {
				t.Errorf("answers by %v, want each of %v", got, want)
			}
			if s := decode[[]api.Service](n, "service", "ls"); len(s) != 1 || fmt.Sprint(s[0].Forward) != one.forward {
				t.Errorf("services %+v", s)
			}
		})
	}
}

// TestImportGuide makes of the guide's file what the guide shows.
func TestImportGuide(t *testing.T) {
	text := string(must(os.ReadFile("../docs/guides/move-to-xlb.md"))(t))
	dir := t.TempDir()
	theirs := filepath.Join(dir, "mysql.conf")
	if err := os.WriteFile(theirs, []byte(blocks(text, "nginx")), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := exec.Command(binary, "import", "nginx", theirs, "--vip", "203.0.113.10").Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := blocks(text, "yaml"); string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

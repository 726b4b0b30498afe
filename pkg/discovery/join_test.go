package discovery

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/xlb-io/xlb/pkg/model"
)

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestClean(t *testing.T) {
	s := model.Source{Backend: model.Backend{Address: netip.AddrPortFrom(netip.Addr{}, 8080), Zone: "z"}}
	got, warnings := clean(s, []model.Backend{
		{Address: netip.MustParseAddrPort("[::ffff:10.0.0.2]:80"), Weight: 1},
		{Address: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), 0), Weight: 2, Zone: "a\nb", Tags: "fine"},
		{Address: netip.MustParseAddrPort("10.0.0.2:80"), Weight: 3, Tags: model.TagsOf("a b", "x")},
		{Address: netip.MustParseAddrPort("10.0.0.3:80"), ServerID: "0Aff"},
		{Address: netip.MustParseAddrPort("10.0.0.4:80"), ServerID: "by name", Zone: strings.Repeat("ü", 32)},
	})
	same(t, "backends", got, []model.Backend{
		{Address: netip.MustParseAddrPort("10.0.0.1:8080"), Weight: 2, Zone: "z", Tags: "fine"},
		{Address: netip.MustParseAddrPort("10.0.0.2:80"), Weight: 1},
		{Address: netip.MustParseAddrPort("10.0.0.3:80"), ServerID: "0aff"},
		{Address: netip.MustParseAddrPort("10.0.0.4:80"), Zone: "z"},
	})
	same(t, "warnings", warnings, []string{
		"3 backends have a zone or tags that are left out: a zone has 1 to 63 bytes without control characters, a tag neither commas nor spaces",
		"1 backends have a server ID that is left out: it is 1 to 15 octets in hexadecimal digits",
		"the answer holds 1 backends more than once; the first word on each counts",
	})
}

func TestUnusable(t *testing.T) {
	front := func(p model.Protocol, s string) model.Frontend {
		a := netip.MustParseAddrPort(s)
		return model.Frontend{VIP: a.Addr(), Port: a.Port(), Protocol: p}
	}
	for _, c := range []struct {
		forward model.Forward
		backend string
		want    string // a part of it
	}{
		{model.NAT, "10.0.0.1:8080", ""},
		{model.NAT, "203.0.113.9:53", ""},
		{model.NAT, "127.0.0.1:80", "not an address that other hosts can reach"},
		{model.NAT, "0.0.0.0:80", "not an address that other hosts can reach"},
		{model.NAT, "224.0.0.1:80", "not an address that other hosts can reach"},
		{model.NAT, "255.255.255.255:80", "not an address that other hosts can reach"},
		{model.NAT, "[fe80::1%eth0]:80", "not an address that other hosts can reach"},
		{model.NAT, "10.0.0.1:0", "it has no port"},
		{model.NAT, "[2001:db8::1]:80", "another family than frontend 203.0.113.1:80/tcp"},
		{model.NAT, "203.0.113.1:80", "a frontend of the same service"},
		{model.NAT, "203.0.113.2:80", ""},
		{model.DNAT, "203.0.113.2:80", `a frontend of service "other" too`},
		{model.DNAT, "203.0.113.2:81", ""},
		{model.L2DSR, "[2001:db8::1]:80", ""},
		{model.IPIP, "10.0.0.1:81", "another port than frontend 203.0.113.1:80/tcp"},
	} {
		web := model.Service{Name: "web", Forward: c.forward, Frontends: []model.Frontend{front(model.TCP, "203.0.113.1:80")}}
		other := model.Service{Name: "other", Frontends: []model.Frontend{front(model.TCP, "203.0.113.2:80"), front(model.UDP, "203.0.113.9:53")}}
		got := unusable(web, frontendsOf([]model.Service{web, other}), model.Backend{Address: netip.MustParseAddrPort(c.backend)})
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s backend %s: %q, want %q", c.forward, c.backend, got, c.want)
		}
	}
}

// TestJoinNamesFew: an answer of thousands that do not fit is no flood of
// warnings.
func TestJoinNamesFew(t *testing.T) {
	web := service("web", nil, "a")
	var found []model.Backend
	for i := range 100 {
		found = append(found, backends(fmt.Sprintf("[2001:db8::%x]:80", i+1))...)
	}
	all, warnings := join(web, nil, func(string) []model.Backend { return found })
	if len(all) != 0 || len(warnings) != named+1 || warnings[named] != `service "web": 95 more backends of source "a" are left out` {
		t.Errorf("%d backends, warnings %q", len(all), warnings)
	}
}

// TestFewWarnings: neither is one that cannot be understood.
func TestFewWarnings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.yaml")
	write(t, path, "- 10.0.0.1\n"+strings.Repeat("- ten\n", 100))
	got := newLive(t, fileAt(path)).until("10.0.0.1:8080=1", "").Warnings
	if len(got) != named+1 || !strings.HasPrefix(got[0], path+":2: ") || got[named] != "95 more warnings" {
		t.Errorf("warnings %q", got)
	}
	for n := range named + 2 {
		if got := few(make([]string, n)); len(got) != n {
			t.Errorf("of %d warnings there are %d", n, len(got))
		}
	}
}

// TestCache: what a source found is there again after a restart, until the
// source speaks; what is no longer configured is forgotten.
func TestCache(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "discovered.json")
	begin := func(t *testing.T, says map[string][]said) *stage {
		s := newStage(t, says)
		s.cache = openCache(path, slog.New(slog.NewTextHandler(s.log, nil)))
		return s
	}
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, map[string][]said{"a": {tells(0, "10.0.0.1:80"), tells(time.Minute, "10.0.0.2:80")}, "b": {tells(0, "10.0.0.3:80")}})
		s.Apply([]model.Service{service("web", nil, "a", "b")})
		s.after(time.Minute, "web", "10.0.0.2:80 10.0.0.3:80")
		s.Close() // writes the last one
		s = begin(t, map[string][]said{"a": {tells(0, "10.0.0.2:80"), tells(time.Minute, "10.0.0.2:80")}})
		s.Apply([]model.Service{service("web", nil, "a")})
		s.after(time.Minute, "web", "10.0.0.2:80")
		s.Close() // and that it was heard again

		s = begin(t, map[string][]said{"a": {failure(time.Second, "away")}})
		s.Apply([]model.Service{service("web", nil, "a")})
		s.after(0, "web", "10.0.0.2:80")
		s.status("web", "a waiting 1 0s")
		s.after(2*time.Second, "web", "10.0.0.2:80")
		s.status("web", "a failing 1 2s away")
		time.Sleep(2 * cacheDelay)
		s.Close()

		s = begin(t, nil)
		s.Apply([]model.Service{service("web", nil, "a", "b")})
		s.after(0, "web", "10.0.0.2:80")
		s.Close()
		if s.log.Len() > 0 {
			t.Error(s.log)
		}
		if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) > 0 {
			t.Error("left behind:", left, err)
		}
	})
	if err := os.WriteFile(path, []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, map[string][]said{"a": {tells(0, "10.0.0.1:80")}})
		s.Apply([]model.Service{service("web", nil, "a")})
		s.after(0, "web", "10.0.0.1:80")
		s.Close()
		if !strings.Contains(s.log.String(), path) {
			t.Errorf("a broken cache is not told of: %s", s.log)
		}
	})
}

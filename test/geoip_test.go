package test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/rules"
)

// geoDatabase is a real one, which test/deps fetches.
func geoDatabase(t *testing.T) (path string, places map[model.Place][]netip.Prefix) {
	t.Helper()
	path = must(filepath.Abs("../build/geoip/geo-whois-asn-country.mmdb"))(t)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no GeoIP database (test/deps test fetches one): %v", err)
	}
	return path, must(rules.Read(path))(t).Places
}

// resident gives the client an address that the database places in a country, and
// the balancer the way back.
func (n *network) resident(places map[model.Place][]netip.Prefix, country string, ipv6 bool) netip.Addr {
	n.t.Helper()
	for place, networks := range places {
		if place.Country != country {
			continue
		}
		for _, p := range networks {
			a := p.Addr().Next()
			if p.Addr().Is6() != ipv6 || !p.Contains(a) || !a.IsGlobalUnicast() || a.IsPrivate() {
				continue
			}
			via := n.Client4
			if ipv6 {
				via = n.Client6
			}
			one := netip.PrefixFrom(a, a.BitLen())
			if err := n.Client.AddAddresses("eth0", one); err != nil {
				n.t.Fatal(err)
			}
			if err := n.Balancer.AddRoute(one, via); err != nil {
				n.t.Fatal(err)
			}
			return a
		}
	}
	n.t.Fatalf("the database has no network of %s, IPv6 %v", country, ipv6)
	return netip.Addr{}
}

// TestGeoIP: clients of countries and continents of a real database get the backends
// of their zone, all others those of the default; a zone without a usable backend
// leaves its clients to the whole service.
func TestGeoIP(t *testing.T) {
	t.Parallel()
	path, places := geoDatabase(t)
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 3})
	n.patience = 2 * time.Minute // a million networks, under the race detector
	steer := strings.ReplaceAll(`probe: none
steer:
  - {from: 10.10.0.0/16, to: {zone: us}}
  - {geoip: DATABASE, country: [DE, FR], to: {zone: eu}}
  - {geoip: DATABASE, continent: [NA, SA], to: {zone: us}}
  - {default: {zone: rest}}`, "DATABASE", path)
	var services []service
	for _, f := range families {
		services = append(services, service{
			name: "web" + f.name, ipv6: f.ipv6, weights: []int{1, 1, 1}, zones: []string{"eu", "us", "rest"}, more: steer,
		})
	}
	n.run(n.config("attach: native", services...))
	expect := func(s service, from netip.Addr, country string, backends ...int) {
		t.Helper()
		for range 5 {
			got, err := n.getFrom(from, s.frontend(n), 10*time.Second)
			if err != nil {
				t.Errorf("%s from %s (%s): %v", s.name, from, country, err)
				return
			}
			known := false
			for _, i := range backends {
				known = known || got == n.Backends[i].Name
			}
			if !known {
				t.Errorf("%s from %s (%s) was answered by %s, want one of backends %v", s.name, from, country, got, backends)
			}
		}
	}
	const eu, us, rest = 0, 1, 2
	german := map[string]netip.Addr{}
	for i, s := range services {
		for country, backend := range map[string]int{"DE": eu, "FR": eu, "US": us, "BR": us, "JP": rest, "GB": rest} {
			a := n.resident(places, country, s.ipv6)
			if country == "DE" {
				german[s.name] = a
			}
			expect(s, a, country, backend)
		}
		expect(s, []netip.Addr{n.Client4, n.Client6}[i], "nowhere", []int{us, rest}[i])
	}
	r := n.detail("web4").Rules
	if r == nil || len(r.Subsets) != 3 || r.Steer < 10_000 || r.Prefixes < 10_000 || len(r.Files) != 1 {
		t.Errorf("rules are shown as %+v", r)
	}

	for _, s := range services {
		n.xlb("backend", "drain", s.name, fmt.Sprint(s.backend(n, eu)))
		n.eventually("the zone falls back", func() string {
			status := must(n.poll())(t)
			if !strings.Contains(strings.Join(status.Warnings, "\n"), fmt.Sprintf("service %q steers to a subset (zone eu), but no backend of it is usable", s.name)) {
				return fmt.Sprintf("warnings %q", status.Warnings)
			}
			return ""
		})
		expect(s, german[s.name], "DE", us, rest)
		if one := n.detail(s.name).Rules.Subsets[1]; one != (api.RuleSubset{Zone: "eu", Backends: 1, FallsBack: true}) {
			t.Errorf("the subset is shown as %+v", one)
		}
	}
}

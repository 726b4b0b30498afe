package test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
)

// TestGuideRegions follows the guide to two regions with a real GeoIP database and
// clients of several countries.
func TestGuideRegions(t *testing.T) {
	needs(t, "curl")
	path, places := geoDatabase(t)
	r := &regions{network: newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 4})}
	r.patience = 2 * time.Minute // a database of a million networks, under the race detector
	// The client's own address is the office in Berlin.
	r.guide = r.network.guide("two-regions.md", "/var/lib/GeoIP/country.mmdb", path, "/etc/xlb/", r.dir+"/", "198.51.100.0/24", netip.PrefixFrom(r.Client4, 32).String(), "192.0.2.0/28", r.denied().String())
	r.run(fmt.Sprintf("interfaces: [%s]\ntable_size: 1009\nservices: {}\n", strings.Join(r.Interfaces, ", ")))
	r.write("table_size: 1009\n" + r.guide.block("yaml", 0))
	if shown := r.guide.steps(0); !strings.Contains(shown, "steers to") {
		t.Errorf("the service is shown as\n%s", shown)
	}
	r.eventually("all backends are healthy", func() string {
		for _, one := range r.detail("web").Rules.Subsets {
			if one.Usable != one.Backends {
				return fmt.Sprintf("%+v", one)
			}
		}
		return ""
	})
	german, american := r.resident(places, "DE", false), r.resident(places, "US", false)
	eu, us := []int{0, 1}, []int{2, 3}
	r.expect(german, "DE", eu)
	r.expect(american, "US", us)
	r.expect(r.resident(places, "KE", false), "KE", eu)
	r.expect(r.resident(places, "JP", false), "JP, by default", us)
	r.expect(r.Client4, "the office", us)

	// A denied client, when the file says so and not before; and who alone is allowed.
	r.expect(r.denied(), "not denied yet", us)
	r.guide.steps(1)
	r.eventually("the list is read again", func() string {
		if rules := r.detail("web").Rules; rules.Deny != 2 {
			return fmt.Sprintf("%+v", rules)
		}
		return ""
	})
	if out, err := r.ask(r.denied()); err == nil {
		t.Errorf("a denied client was answered by %s", out)
	}
	admin := netip.AddrPortFrom(r.VIP4, 8443)
	if _, err := r.getFrom(r.Client4, admin, 10*time.Second); err != nil {
		t.Errorf("the office asks for what is its own: %v", err)
	}
	if got, err := r.getFrom(german, admin, silence); err == nil {
		t.Errorf("a stranger is answered by %s", got)
	}

	r.flood(american)
	r.expect(german, "DE while another client floods", eu)

	// Europe is taken out, returns, and fails.
	r.guide.steps(2)
	r.awaitFallBack(true)
	r.expect(german, "DE without its zone", us)
	r.guide.steps(3)
	r.awaitFallBack(false)
	r.expect(german, "DE again", eu)
	for _, i := range eu {
		if err := r.http[i].Stop(); err != nil {
			t.Fatal(err)
		}
	}
	r.awaitFallBack(true)
	r.expect(german, "DE while its servers are down", us)
	shown := r.guide.steps(4)
	for _, text := range []string{"the whole service takes its flows", " denied", "rate per source", "eu    web         0/2"} {
		if !strings.Contains(shown, text) {
			t.Errorf("%q is not shown:\n%s", text, shown)
		}
	}
	if status := must(r.poll())(t); !strings.Contains(strings.Join(status.Warnings, "\n"), "zone eu") {
		t.Errorf("warnings %q", status.Warnings)
	}
}

// regions is a network whose backends are in two.
type regions struct {
	*network
	guide guide
	held  []netip.Addr
}

// denied is an address of the client's that the guide denies.
func (r *regions) denied() netip.Addr {
	if len(r.held) == 0 {
		r.held = append(r.held, r.another(false, 40))
	}
	return r.held[0]
}

// ask runs the guide's command for a client at an address.
func (r *regions) ask(from netip.Addr) (server string, err error) {
	out, _, err := r.guide.run(r.Client, strings.ReplaceAll(r.guide.block("sh client", 0), "curl ", "curl --interface "+from.String()+" "))
	return strings.TrimSpace(out), err
}

// expect asks some times as a client and wants answers of some backends alone.
func (r *regions) expect(from netip.Addr, who string, backends []int) {
	r.t.Helper()
	var names []string
	for _, i := range backends {
		names = append(names, r.Backends[i].Name)
	}
	for range 6 {
		if got, err := r.ask(from); err != nil || !slices.Contains(names, got) {
			r.t.Errorf("%s (%s) is answered by %q, %v, want one of %v", from, who, got, err, names)
			return
		}
	}
}

// flood opens more connections at once than a client may.
func (r *regions) flood(from netip.Addr) {
	r.t.Helper()
	const burst, tries = 40, 200
	var (
		wg     sync.WaitGroup
		opened atomic.Int64
	)
	before, began := r.detail("web").Refused.RatePerSource, time.Now()
	for range tries {
		wg.Go(func() {
			// Less than a second: a client's system asks again after that.
			conn, err := r.dialFor(context.Background(), from, netip.AddrPortFrom(r.VIP4, 80), 900*time.Millisecond)
			if err == nil {
				opened.Add(1)
				conn.Close()
			}
		})
	}
	wg.Wait()
	most := burst + 20*(1+int64(time.Since(began)/time.Second))
	if got := opened.Load(); got < burst || got > most {
		r.t.Errorf("of %d connections at once %d were opened, want %d to %d", tries, got, burst, most)
	}
	if after := r.detail("web").Refused.RatePerSource; after-before < tries-uint64(most) {
		r.t.Errorf("%d connections were refused, want at least %d", after-before, tries-most)
	}
}

func (r *regions) awaitFallBack(want bool) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("the zone falls back: %v", want), func() string {
		for _, one := range r.detail("web").Rules.Subsets {
			if one.Zone == "eu" && one.FallsBack == want && (want || one.Usable == one.Backends) {
				return ""
			}
		}
		return fmt.Sprintf("%+v", r.detail("web").Rules.Subsets)
	})
}

package control

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/model"
)

// routes is a host that has routes to few addresses, and counts who asks.
type routes struct {
	machine
	to    map[netip.Addr]netip.Addr
	asked int
}

func (r *routes) SourceFor(to netip.Addr) (netip.Addr, error) {
	r.asked++
	if a, ok := r.to[to]; ok {
		return a, nil
	}
	return netip.Addr{}, errors.New("no route")
}

// TestHostSources: a backend that the host has no route to does not take the source
// address from the others.
func TestHostSources(t *testing.T) {
	operator, err := openOperator(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	source := addr("192.0.2.250")
	for _, c := range []struct {
		name      string
		reachable int // of 20 backends; none if negative
		known     map[bool]netip.Addr
		want      map[bool]netip.Addr
		asked     int
	}{
		{"the first", 0, nil, map[bool]netip.Addr{true: source}, 1},
		{"the third", 2, nil, map[bool]netip.Addr{true: source}, 3},
		{"none", -1, nil, nil, sourceTries},
		{"known", -1, map[bool]netip.Addr{true: source, false: addr("2001:db8::1")}, map[bool]netip.Addr{true: source}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			host := &routes{to: map[netip.Addr]netip.Addr{}}
			ctl := &controller{parts: parts{host: host, operator: operator, log: slog.New(slog.NewTextHandler(&log, nil))}}
			var found []model.Backend
			for i := range 20 {
				b := model.Backend{Address: ap(fmt.Sprintf("10.0.0.%d:80", i)), Weight: 1}
				found = append(found, b)
				if i == c.reachable {
					host.to[b.Address.Addr()] = source
				}
			}
			cfg := &model.Config{Services: []model.Service{{Name: "direct", Forward: model.L2DSR}, {Name: "web", Forward: model.NAT}}}
			got := ctl.sourcesFor(cfg, map[string][]model.Backend{"web": found, "direct": found}, autoSources{nat: c.known})
			if !maps.Equal(got.nat, c.want) || len(got.tunnel) != 0 || host.asked != c.asked {
				t.Errorf("sources %v after %d questions, want %v after %d", got, host.asked, c.want, c.asked)
			}
			if failed := strings.Contains(log.String(), "cannot find a source address (set sources)"); failed != (c.want == nil) {
				t.Errorf("log:\n%s", &log)
			}
		})
	}
}

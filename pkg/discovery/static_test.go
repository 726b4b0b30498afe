package discovery

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/xlb-io/xlb/pkg/model"
)

// service returns a service whose backends are the given addresses.
func service(name string, addresses ...string) model.Service {
	s := model.Service{Name: name}
	for i, a := range addresses {
		s.Backends = append(s.Backends, model.Backend{Address: netip.MustParseAddrPort(a), Weight: uint16(i + 1), Zone: "rack-1"})
	}
	return s
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestStaticSendsOneSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service("web", "10.0.0.1:80", "[2001:db8::1]:80")
		source := Static(s)
		want := service("web", "10.0.0.1:80", "[2001:db8::1]:80").Backends
		s.Backends[0].Weight = 99 // the source keeps its own copy

		ctx, cancel := context.WithCancel(t.Context())
		updates := make(chan Update)
		result := make(chan error)
		go func() { result <- source.Run(ctx, updates) }()

		u := <-updates
		same(t, "backends", u.Backends, want)
		if u.Service != "web" || u.Source != "static" || u.Err != nil || u.At.IsZero() {
			t.Errorf("update is %+v", u)
		}
		synctest.Wait()
		select {
		case u := <-updates:
			t.Errorf("a second update: %+v", u)
		case err := <-result:
			t.Errorf("Run ended by itself: %v", err)
		default:
		}
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestStaticGivesUpWithoutReceiver(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Static(service("web", "10.0.0.1:80")).Run(ctx, make(chan Update)); !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v", err)
	}
}

package discovery

import (
	"context"
	"net/netip"

	"github.com/xlb-io/xlb/pkg/model"
)

// dnsSource asks for the addresses of a name, and again when the answer has
// grown as old as its records may.
type dnsSource struct {
	backend  model.Backend
	query    model.DNSSource
	resolver resolver
}

func newDNS(s model.Source) Source {
	return &dnsSource{backend: s.Backend, query: s.DNS, resolver: newResolver(s.DNS.Resolvers)}
}

func (d *dnsSource) String() string { return "addresses of " + d.query.Name }

func (d *dnsSource) Run(ctx context.Context, emit Emit) error {
	for {
		f, err := d.resolver.addresses(ctx, d.query.Name, d.query.IPv4, d.query.IPv6)
		if err != nil {
			return err
		}
		backends := make([]model.Backend, len(f.addresses))
		for i, a := range f.addresses {
			backends[i] = d.backend
			backends[i].Address = netip.AddrPortFrom(a, d.backend.Address.Port())
		}
		emit(backends)
		if err := pause(ctx, d.resolver.hold(f.ttl, len(backends) == 0)); err != nil {
			return err
		}
	}
}

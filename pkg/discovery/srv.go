package discovery

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/xlb-io/xlb/pkg/model"
)

// targetsAtOnce bounds how many targets are asked for at the same time.
const targetsAtOnce = 8

// srvSource asks for the service records of a name (RFC 2782) and for the
// addresses of their targets.
type srvSource struct {
	backend  model.Backend
	query    model.SRVSource
	resolver resolver
	// known has the last addresses of each target, for when a target alone
	// cannot be resolved.
	known map[string]found
}

func newSRV(s model.Source) Source {
	return &srvSource{backend: s.Backend, query: s.SRV, resolver: newResolver(s.SRV.Resolvers)}
}

func (s *srvSource) String() string { return "service records of " + s.query.Name }

func (s *srvSource) Run(ctx context.Context, emit Emit) error {
	for {
		answer, err := s.resolver.lookup(ctx, s.query.Name, dns.TypeSRV)
		if err != nil {
			return err
		}
		services := offered(answer.rrs)
		targets, warnings, err := s.targets(ctx, services, answer.extra)
		if err != nil {
			return err
		}
		ttl := answer.ttl
		for _, t := range targets {
			ttl = min(ttl, t.ttl)
		}
		if len(warnings) > 0 { // a target that failed is asked for again before long
			ttl = min(ttl, maxNegative)
		}
		backends, more := s.backends(services, targets)
		emit(backends, append(warnings, more...)...)
		if err := pause(ctx, s.resolver.hold(ttl, len(backends) == 0)); err != nil {
			return err
		}
	}
}

// offered returns the records that name a target, by priority. A lone "." says
// that the service is not available here.
func offered(rrs []dns.RR) []*dns.SRV {
	var services []*dns.SRV
	for _, rr := range rrs {
		if srv, ok := rr.(*dns.SRV); ok && srv.Target != "." {
			services = append(services, srv)
		}
	}
	slices.SortFunc(services, func(a, b *dns.SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), strings.Compare(a.Target, b.Target), cmp.Compare(a.Port, b.Port), cmp.Compare(b.Weight, a.Weight))
	})
	return services
}

// targets finds the addresses of all targets. What the server added is taken,
// and what it left out is asked for: it may leave out what did not fit. One
// target that cannot be resolved keeps its last addresses and harms no other;
// it is an error if none can.
func (s *srvSource) targets(ctx context.Context, services []*dns.SRV, extra []dns.RR) (map[string]found, []string, error) {
	given := make(map[string]found)
	for _, srv := range services {
		name := dns.CanonicalName(srv.Target)
		given[name] = s.added(name, extra)
	}
	names := make([]string, 0, len(given))
	for name := range given {
		names = append(names, name)
	}
	slices.Sort(names)

	results, errs := s.resolve(ctx, names, given)
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	known, failed := make(map[string]found, len(names)), 0
	var warnings []string
	for i, name := range names {
		if errs[i] == nil {
			known[name] = results[i]
			continue
		}
		failed++
		what := "left out"
		if last, ok := s.known[name]; ok {
			what = "its last addresses stay"
			last.ttl = 0
			known[name] = last
		}
		warnings = append(warnings, fmt.Sprintf("target %s: %v (%s)", name, errs[i], what))
	}
	if failed > 0 && failed == len(names) {
		return nil, nil, fmt.Errorf("none of the targets can be resolved: %w", cmp.Or(errs...))
	}
	s.known = known
	return known, warnings, nil
}

// resolve asks for what is missing of the targets' addresses.
func (s *srvSource) resolve(ctx context.Context, names []string, given map[string]found) ([]found, []error) {
	results, errs := make([]found, len(names)), make([]error, len(names))
	var group errgroup.Group
	group.SetLimit(targetsAtOnce)
	for i, name := range names {
		v4, v6 := s.missing(given[name])
		if !v4 && !v6 {
			results[i] = given[name]
			continue
		}
		group.Go(func() error {
			f, err := s.resolver.addresses(ctx, name, v4, v6)
			results[i], errs[i] = f.with(given[name]), err
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	return results, errs
}

// added returns the addresses that came along with the answer.
func (s *srvSource) added(name string, extra []dns.RR) found {
	f := found{ttl: forever}
	for _, rr := range extra {
		a := addressOf(rr)
		if !strings.EqualFold(rr.Header().Name, name) || a.Is4() && !s.query.IPv4 || a.Is6() && !s.query.IPv6 || !a.IsValid() {
			continue
		}
		f.addresses = append(f.addresses, a)
		f.ttl = min(f.ttl, ttlOf(rr))
	}
	return f
}

// missing tells of which families nothing came along.
func (s *srvSource) missing(f found) (v4, v6 bool) {
	return s.query.IPv4 && !slices.ContainsFunc(f.addresses, netip.Addr.Is4),
		s.query.IPv6 && !slices.ContainsFunc(f.addresses, netip.Addr.Is6)
}

// with adds what another answer had.
func (f found) with(other found) found {
	f.addresses = slices.Concat(f.addresses, other.addresses)
	slices.SortFunc(f.addresses, netip.Addr.Compare)
	f.addresses = slices.Compact(f.addresses)
	f.ttl = min(f.ttl, other.ttl)
	return f
}

// backends makes a backend of each address and port. The priorities become
// tiers in their order, counted from the priority of the source; a target that
// is named twice counts with its best.
func (s *srvSource) backends(services []*dns.SRV, targets map[string]found) (backends []model.Backend, warnings []string) {
	tiers, weighted := make(map[uint16]int), make(map[uint16]bool)
	for _, srv := range services {
		if _, ok := tiers[srv.Priority]; !ok {
			tiers[srv.Priority] = int(s.backend.Priority) + len(tiers)
		}
		weighted[srv.Priority] = weighted[srv.Priority] || srv.Weight > 0
	}
	seen := make(map[netip.AddrPort]bool)
	for _, srv := range services {
		f, ok := targets[dns.CanonicalName(srv.Target)]
		if ok && len(f.addresses) == 0 {
			warnings = append(warnings, fmt.Sprintf("target %s has no address (left out)", srv.Target))
		}
		for _, a := range f.addresses {
			b := s.backend
			b.Address = netip.AddrPortFrom(a, cmp.Or(srv.Port, s.backend.Address.Port()))
			if seen[b.Address] {
				continue
			}
			seen[b.Address] = true
			b.Priority = uint8(min(tiers[srv.Priority], math.MaxUint8))
			if weighted[srv.Priority] {
				// Weight 0 among others is for "a very small chance", not for none.
				b.Weight = max(srv.Weight, 1)
			}
			backends = append(backends, b)
		}
	}
	return backends, warnings
}

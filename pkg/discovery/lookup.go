package discovery

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

const (
	// maxAliases bounds a chain of CNAMEs, over all answers.
	maxAliases = 16
	// maxNegative is how long it is believed that there is nothing, whatever the
	// zone says: a backend that comes should not wait for an hour.
	maxNegative = 30 * time.Second
	// forever is the TTL of what bounds nothing.
	forever = time.Duration(1<<63 - 1)
)

// found is what a name has.
type found struct {
	addresses []netip.Addr // sorted, none twice
	ttl       time.Duration
}

// records are those of one type that a name has, at the end of its aliases.
type records struct {
	rrs   []dns.RR
	extra []dns.RR // what the server added unasked
	ttl   time.Duration
}

// addresses asks for A, AAAA or both. If one of two cannot be had, the answer
// would be half of it: that is an error.
func (r resolver) addresses(ctx context.Context, name string, v4, v6 bool) (found, error) {
	var answers [2]records
	group, ctx := errgroup.WithContext(ctx)
	for i, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if kind == dns.TypeA && !v4 || kind == dns.TypeAAAA && !v6 {
			answers[i].ttl = forever
			continue
		}
		group.Go(func() (err error) {
			answers[i], err = r.lookup(ctx, name, kind)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return found{}, err
	}
	f := found{ttl: min(answers[0].ttl, answers[1].ttl)}
	for _, rr := range slices.Concat(answers[0].rrs, answers[1].rrs) {
		f.addresses = append(f.addresses, addressOf(rr))
	}
	slices.SortFunc(f.addresses, netip.Addr.Compare)
	f.addresses = slices.Compact(f.addresses)
	return f, nil
}

func addressOf(rr dns.RR) netip.Addr {
	var a netip.Addr
	switch rr := rr.(type) {
	case *dns.A:
		a, _ = netip.AddrFromSlice(rr.A.To4())
	case *dns.AAAA:
		a, _ = netip.AddrFromSlice(rr.AAAA.To16())
	}
	return a
}

// lookup returns the records of a type. That there are none is no error.
func (r resolver) lookup(ctx context.Context, name string, kind uint16) (records, error) {
	found, owner := records{ttl: forever}, dns.Fqdn(name)
	for aliases := 0; ; {
		m, err := r.query(ctx, owner, kind)
		if err != nil {
			return records{}, err
		}
		asked := owner
		for {
			alias := aliasOf(m, owner)
			if alias == nil {
				break
			}
			if aliases++; aliases > maxAliases {
				return records{}, fmt.Errorf("%s: more than %d aliases one after the other", name, maxAliases)
			}
			owner, found.ttl = alias.Target, min(found.ttl, ttlOf(alias))
		}
		for _, rr := range m.Answer {
			if rr.Header().Rrtype == kind && strings.EqualFold(rr.Header().Name, owner) {
				found.rrs = append(found.rrs, rr)
				found.ttl = min(found.ttl, ttlOf(rr))
			}
		}
		negative, known := negativeTTL(m)
		switch {
		case len(found.rrs) > 0:
			found.extra = m.Extra
			return found, nil
		// A server that knows only the first part of a chain stops there, and
		// says nothing of the rest.
		case owner == asked, known, m.Rcode == dns.RcodeNameError:
			found.ttl = min(found.ttl, negative)
			return found, nil
		}
	}
}

// aliasOf returns what the answer says that the name is an alias of.
func aliasOf(m *dns.Msg, name string) *dns.CNAME {
	for _, rr := range m.Answer {
		if c, ok := rr.(*dns.CNAME); ok && strings.EqualFold(c.Hdr.Name, name) {
			return c
		}
	}
	return nil
}

func ttlOf(rr dns.RR) time.Duration {
	ttl := rr.Header().Ttl
	if ttl > 1<<31-1 { // RFC 2181, 8
		ttl = 0
	}
	return time.Duration(ttl) * time.Second
}

// negativeTTL is how long an answer without records holds (RFC 2308, 5), if it
// says so.
func negativeTTL(m *dns.Msg) (time.Duration, bool) {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(ttlOf(soa), time.Duration(soa.Minttl)*time.Second), true
		}
	}
	return forever, false
}

// hold is how long an answer is believed.
func (r resolver) hold(ttl time.Duration, empty bool) time.Duration {
	if empty {
		ttl = min(ttl, maxNegative)
	}
	return max(r.MinTTL, min(ttl, r.MaxTTL))
}

// pause waits, and returns the error of ctx if that ends before.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

package control

import (
	"math"
	"net/netip"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

// site is what decisions about the new flows of a service need to know. Nothing of
// it is changed; another plan makes another one.
type site struct {
	service  string
	chain    *policy.Chain
	overload model.OnOverload
	// backends are those that take new flows, in the order of their addresses: the
	// numbers that policies know them by.
	backends []candidate
}

// candidate is a backend that takes new flows.
type candidate struct {
	id     uint32
	weight float64
	key    uint64 // the same on every balancer
	labels model.Backend
}

// siteOf returns the site of a planned service.
func siteOf(s *ServiceState, chain *policy.Chain, overload model.OnOverload) *site {
	out := &site{service: s.Name, chain: chain, overload: overload}
	for _, b := range s.Backends {
		if b.Effective > 0 {
			out.backends = append(out.backends, candidate{
				id: b.ID, weight: float64(b.Effective), key: addressHash(b.Address),
				labels: model.Backend{Address: b.Address, Zone: b.Zone, Tags: b.Tags},
			})
		}
	}
	return out
}

// empty says whether a subset has no backend that takes new flows.
func (s *site) empty(subset model.Subset) bool {
	for i := range s.backends {
		if subset.Holds(s.backends[i].labels) {
			return false
		}
	}
	return true
}

// decision is what the data plane is to do with a flow. What a chain answered about
// backends that are gone since is no decision: the table has the word.
func (s *site) decision(d policy.Decision, hash uint64) maps.Decision {
	switch d.Action {
	case policy.ActionDrop, policy.ActionReject:
		return maps.Decision{Drop: true}
	case policy.ActionBackend:
		if d.Backend < len(s.backends) {
			return maps.Decision{Backend: s.backends[d.Backend].id}
		}
	case policy.ActionSubset:
		return maps.Decision{Backend: s.choose(d.Subset, hash)}
	case policy.ActionHash:
		return maps.Decision{Hash: &d.Hash}
	}
	return maps.Decision{}
}

// choose picks a backend of a subset by weighted rendezvous hashing: each draws a
// lot from the flow's hash and its own address, and the best, stretched by the
// weight, wins (Schindelhauer and Schomaker, "Weighted distributed hash tables",
// SPAA 2005). So every balancer picks the same, and a backend that comes or goes
// moves no other flow. 0 if the subset is empty.
func (s *site) choose(subset model.Subset, hash uint64) uint32 {
	best, chosen := math.Inf(1), uint32(0)
	for i := range s.backends {
		b := &s.backends[i]
		if !subset.Holds(b.labels) {
			continue
		}
		lot := (float64(mix(hash^b.key)>>11) + 0.5) / (1 << 53) // in (0, 1)
		if cost := -math.Log(lot) / b.weight; cost < best {
			best, chosen = cost, b.id
		}
	}
	return chosen
}

// addressHash is FNV-1a over address and port, mixed.
func addressHash(a netip.AddrPort) uint64 {
	h := uint64(0xcbf29ce484222325)
	bytes, _ := a.MarshalBinary() // netip has no error to return
	for _, b := range bytes {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	return mix(h)
}

// mix is the finaliser of MurmurHash3.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

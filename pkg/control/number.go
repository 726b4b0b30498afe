package control

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// match is a guess that a service of the configuration is a number of the maps.
type match struct {
	service string
	number  uint32
	common  int
}

// number gives every service its number: names are not in the maps, so the
// number that shares most frontends with it, or failing this the number that
// shares most of its backends, or else a new one.
//
// A service that now forwards in another way cannot go on with its flows. It
// gets a new number, and the one that had its frontends is superseded.
func (r *round) number() (numbers map[string]uint32, superseded map[uint32]bool, err error) {
	numbers = make(map[string]uint32, len(r.services))
	superseded = map[uint32]bool{}
	taken := map[uint32]bool{}
	assign := func(matches []match) {
		slices.SortFunc(matches, func(a, b match) int {
			return cmp.Or(cmp.Compare(b.common, a.common), cmp.Compare(a.number, b.number), strings.Compare(a.service, b.service))
		})
		for _, m := range matches {
			if numbers[m.service] == 0 && !taken[m.number] {
				numbers[m.service] = m.number
				taken[m.number] = true
			}
		}
	}

	byFrontends, moved := r.matchFrontends()
	assign(byFrontends)
	assign(r.matchBackends(numbers, taken))
	for id := range moved {
		superseded[id] = !taken[id]
	}

	occupied := r.presentNumbers()
	next := uint32(1)
	for _, s := range r.services {
		if numbers[s.Name] != 0 {
			continue
		}
		for occupied[next] {
			next++
		}
		if int(next) >= r.Sizes.Services {
			return nil, nil, fmt.Errorf("service %q: more services than the %d that the maps have room for, those with flows left included (raise max_services and restart)",
				s.Name, r.Sizes.Services-1)
		}
		numbers[s.Name] = next
		next++
	}
	return numbers, superseded, nil
}

// matchFrontends also returns the numbers that lose a frontend to a service
// that forwards in another way.
func (r *round) matchFrontends() (matches []match, moved map[uint32]bool) {
	moved = map[uint32]bool{}
	for _, s := range r.services {
		common := map[uint32]int{}
		for _, f := range s.Frontends {
			v := r.Present.VIPs[maps.VIPKey{Address: f.VIP, Port: f.Port, Protocol: f.Protocol}]
			if v.Service != 0 {
				common[v.Service]++
			}
		}
		for id, n := range common {
			if r.continues(s, id) {
				matches = append(matches, match{s.Name, id, n})
			} else {
				moved[id] = true
			}
		}
	}
	return matches, moved
}

// matchBackends matches services and numbers that are left, by more than half
// of the service's backends.
func (r *round) matchBackends(numbers map[string]uint32, taken map[uint32]bool) []match {
	owners := map[netip.AddrPort][]uint32{}
	for id, of := range r.present {
		if taken[id] {
			continue
		}
		for address := range of {
			owners[address] = append(owners[address], id)
		}
	}
	var matches []match
	if len(owners) == 0 {
		return nil
	}
	for _, s := range r.services {
		if numbers[s.Name] != 0 {
			continue
		}
		common := map[uint32]int{}
		backends := r.backendsOf(s)
		for _, b := range backends {
			for _, id := range owners[b.Address] {
				common[id]++
			}
		}
		for id, n := range common {
			if 2*n > len(backends) && r.continues(s, id) {
				matches = append(matches, match{s.Name, id, n})
			}
		}
	}
	return matches
}

// continues says whether flows of number id can go on in s. A number without a
// service, left by a write that failed half-way, has no flows.
func (r *round) continues(s model.Service, id uint32) bool {
	old, ok := r.Present.Services[id]
	return !ok || old.Forward == s.Forward
}

// presentNumbers is every service number that anything in the maps refers to.
func (r *round) presentNumbers() map[uint32]bool {
	all := make(map[uint32]bool, len(r.Present.Services))
	for id := range r.Present.Services {
		all[id] = true
	}
	for id := range r.Present.Tables {
		all[id] = true
	}
	for id := range r.present {
		all[id] = true
	}
	for _, v := range r.Present.VIPs {
		all[v.Service] = true
	}
	return all
}

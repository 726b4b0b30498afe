package maps

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Change is one write: Key gets New, or is deleted if New is nil; Old is nil if
// it was not there. K and V are the key's and value's types in Contents.
type Change[K comparable, V any] struct {
	Key      K
	Old, New *V
}

// Changes is the difference between two Contents, each map's part sorted by key.
type Changes struct {
	VIPs        []Change[VIPKey, VIP]
	Services    []Change[uint32, Service]
	Tables      []Change[uint32, Table]
	Subsets     []Change[uint32, Subset]
	Rules       []Change[uint32, Rules]
	Backends    []Change[uint32, Backend]
	Sources     []Change[uint32, netip.Addr]
	Tunnels     []Change[uint32, Tunnel]
	QUICServers []Change[QUICServer, uint32]
	Features    []Change[uint32, Features]
}

// Diff returns what turns have into want.
func Diff(have, want Contents) Changes {
	return Changes{
		VIPs:        diff(have.VIPs, want.VIPs, CompareVIPKeys, equal[VIP]),
		Services:    diff(have.Services, want.Services, cmp.Compare[uint32], sameService),
		Tables:      diff(have.Tables, want.Tables, cmp.Compare[uint32], Table.Equal),
		Subsets:     diff(have.Subsets, want.Subsets, cmp.Compare[uint32], equal[Subset]),
		Rules:       diff(have.Rules, want.Rules, cmp.Compare[uint32], Rules.Equal),
		Backends:    diff(have.Backends, want.Backends, cmp.Compare[uint32], equal[Backend]),
		Sources:     diff(have.Sources, want.Sources, cmp.Compare[uint32], equal[netip.Addr]),
		Tunnels:     diff(have.Tunnels, want.Tunnels, cmp.Compare[uint32], equal[Tunnel]),
		QUICServers: diff(have.QUICServers, want.QUICServers, CompareQUICServers, equal[uint32]),
		Features:    diff(have.Features, want.Features, cmp.Compare[uint32], equal[Features]),
	}
}

// Len is the number of writes.
func (c Changes) Len() int {
	return len(c.VIPs) + len(c.Services) + len(c.Tables) + len(c.Subsets) + len(c.Rules) + len(c.Backends) + len(c.Sources) + len(c.Tunnels) + len(c.QUICServers) + len(c.Features)
}

// CompareVIPKeys orders by address, port, protocol.
func CompareVIPKeys(a, b VIPKey) int {
	return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
}

func (k VIPKey) String() string {
	if k.Protocol == 0 {
		return k.Address.String()
	}
	return fmt.Sprintf("%s/%s", netip.AddrPortFrom(k.Address, k.Port), k.Protocol)
}

func equal[V comparable](a, b V) bool { return a == b }

func diff[K comparable, V any](have, want map[K]V, order func(K, K) int, same func(V, V) bool) []Change[K, V] {
	var out []Change[K, V]
	for k, w := range want {
		h, ok := have[k]
		switch {
		case !ok:
			out = append(out, Change[K, V]{Key: k, New: &w})
		case !same(h, w):
			out = append(out, Change[K, V]{Key: k, Old: &h, New: &w})
		}
	}
	for k, h := range have {
		if _, ok := want[k]; !ok {
			out = append(out, Change[K, V]{Key: k, Old: &h})
		}
	}
	slices.SortFunc(out, func(a, b Change[K, V]) int { return order(a.Key, b.Key) })
	return out
}

// Make makes changes in place. c must not be the zero value.
func (c Contents) Make(changes Changes) {
	makeChanges(c.VIPs, changes.VIPs)
	makeChanges(c.Services, changes.Services)
	makeChanges(c.Tables, changes.Tables)
	makeChanges(c.Subsets, changes.Subsets)
	makeChanges(c.Rules, changes.Rules)
	makeChanges(c.Backends, changes.Backends)
	makeChanges(c.Sources, changes.Sources)
	makeChanges(c.Tunnels, changes.Tunnels)
	makeChanges(c.QUICServers, changes.QUICServers)
	makeChanges(c.Features, changes.Features)
}

func makeChanges[K comparable, V any](m map[K]V, changes []Change[K, V]) {
	for _, c := range changes {
		if c.New == nil {
			delete(m, c.Key)
		} else {
			m[c.Key] = *c.New
		}
	}
}

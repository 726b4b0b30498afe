package maps_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// randomRules are n prefixes of IPv4, most of them /24, sorted.
func randomRules(n int) maps.Rules {
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[netip.Prefix]maps.Rule{}
	for len(seen) < n {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], random.Uint32())
		p, err := netip.AddrFrom4(b).Prefix([]int{16, 20, 24, 24, 24, 32}[random.IntN(6)])
		if err != nil {
			panic(err)
		}
		seen[p] = maps.Rule{Prefix: p, Verdict: model.Denied}
	}
	c := maps.Contents{Rules: map[uint32]maps.Rules{}}
	for _, r := range seen {
		c.Rules[1] = append(c.Rules[1], r)
	}
	maps.SortRules(c.Rules[1])
	return c.Rules[1]
}

// A list of a hundred thousand is written, replaced and read back.
func TestManyRules(t *testing.T) {
	s := newSet(t, testSizes)
	have := maps.Contents{}
	for _, n := range []int{100_000, 1, 20_000} {
		want := maps.Contents{}.Clone()
		want.Rules[1] = randomRules(n)
		if err := s.Apply(maps.Diff(have, want)); err != nil {
			t.Fatal(err)
		}
		got, err := s.Read()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(fmt.Sprint(want.Rules[1]), fmt.Sprint(got.Rules[1])); d != "" {
			t.Fatalf("%d rules read back (-want +got):\n%.2000s", n, d)
		}
		have = want
	}
}

// Services with the same rules share a trie: a hundred of them with a list of twenty
// thousand are written in the time of a few, and read back as one memory.
func TestSharedRules(t *testing.T) {
	const n = 100
	s := newSet(t, maps.Sizes{Services: n + 1, Backends: 33, Frontends: 16, Sources: 4, Table: 251, Flows: 1024})
	want := maps.Contents{}.Clone()
	shared := randomRules(20_000)
	for id := range uint32(n) {
		want.Rules[id+1] = shared
	}
	want.Rules[7] = randomRules(3)
	if err := s.Apply(maps.Diff(maps.Contents{}, want)); err != nil {
		t.Fatal(err)
	}
	got, err := s.Read()
	if err != nil {
		t.Fatal(err)
	}
	if n := maps.Diff(want, got).Len(); n != 0 {
		t.Errorf("%d entries differ", n)
	}
	if &got.Rules[1][0] != &got.Rules[100][0] || &got.Rules[1][0] == &got.Rules[7][0] {
		t.Error("rules are not shared as they were")
	}
	// What one gets for itself is not the others'.
	next := want.Clone()
	next.Rules[1] = randomRules(5)
	if err := s.Apply(maps.Diff(want, next)); err != nil {
		t.Fatal(err)
	}
	if got, err = s.Read(); err != nil {
		t.Fatal(err)
	}
	if n := maps.Diff(next, got).Len(); n != 0 {
		t.Errorf("%d entries differ after one changed", n)
	}
}

// BenchmarkRules writes and reads the rules of one service.
func BenchmarkRules(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000} {
		rules := randomRules(n)
		s, err := maps.New(testSizes)
		if err != nil {
			b.Skip(err)
		}
		defer s.Close()
		c := maps.Changes{Rules: []maps.Change[uint32, maps.Rules]{{Key: 1, New: &rules}}}
		b.Run(fmt.Sprint("write-", n), func(b *testing.B) {
			for b.Loop() {
				if err := s.Apply(c); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint("read-", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

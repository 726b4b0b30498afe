package schedule

import (
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// backends returns n entries whose keys are neighbouring addresses and whose
// weights are weight(i).
func backends(n int, weight func(i int) uint32) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		entries[i] = Entry{Key: netip.AddrPortFrom(addr, 8080).String(), ID: uint32(i + 1), Weight: weight(i)}
	}
	return entries
}

func equal(int) uint32 { return 10 }

func build(t testing.TB, entries []Entry, size int) []uint32 {
	t.Helper()
	table, err := Maglev(entries, size)
	if err != nil {
		t.Fatal(err)
	}
	if len(table) != size {
		t.Fatalf("table has %d slots, want %d", len(table), size)
	}
	return table
}

func count(table []uint32) map[uint32]int {
	slots := make(map[uint32]int)
	for _, id := range table {
		slots[id]++
	}
	return slots
}

func TestMaglevWeightsAreExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, size := range []int{251, 4093, 65537} {
		for range 20 {
			var total uint64
			entries := backends(1+rng.IntN(size/100), func(int) uint32 {
				w := rng.Uint32N(101)
				if w > 0 {
					w += 100 // no share is below one slot
				}
				total += uint64(w)
				return w
			})
			slots := count(build(t, entries, size))
			if total == 0 {
				if slots[0] != size {
					t.Fatalf("size %d: no weight is positive, but %d slots are filled", size, size-slots[0])
				}
				continue
			}
			for _, e := range entries {
				want := share(e.Weight, total, size)
				if got := float64(slots[e.ID]); got <= want-1 || got >= want+1 {
					t.Fatalf("size %d, %d backends: weight %d of %d has %v slots, want %.2f", size, len(entries), e.Weight, total, got, want)
				}
				if e.Weight == 0 && slots[e.ID] != 0 {
					t.Fatalf("weight 0 has %d slots", slots[e.ID])
				}
			}
		}
	}
}

func TestMaglevEveryBackendHasASlot(t *testing.T) {
	entries := backends(251, func(i int) uint32 { return 1 + uint32(i%7)*9000 })
	for id, n := range count(build(t, entries, 251)) {
		if id == 0 || n != 1 {
			t.Errorf("backend %d has %d slots, want 1 each", id, n)
		}
	}
}

func TestMaglevWithoutWeightIsEmpty(t *testing.T) {
	for _, entries := range [][]Entry{nil, backends(3, func(int) uint32 { return 0 })} {
		if slots := count(build(t, entries, 13)); slots[0] != 13 {
			t.Errorf("%d backends of weight 0: slots %v, want 13 times 0", len(entries), slots)
		}
	}
}

func TestMaglevIgnoresOrder(t *testing.T) {
	entries := backends(50, func(i int) uint32 { return uint32(i % 4) })
	want := build(t, entries, 4093)
	rng := rand.New(rand.NewPCG(5, 6))
	for range 10 {
		rng.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		given := slices.Clone(entries)
		if got := build(t, entries, 4093); !slices.Equal(got, want) {
			t.Fatal("another order of the entries gives another table")
		}
		if !slices.Equal(entries, given) {
			t.Fatal("the caller's entries were moved")
		}
	}
}

func TestMaglevIgnoresIDs(t *testing.T) {
	entries := backends(50, func(i int) uint32 { return uint32(1 + i%4) })
	want := build(t, entries, 4093)
	renamed := slices.Clone(entries)
	for i := range renamed {
		renamed[i].ID = 1_000_000 - 7*renamed[i].ID
	}
	got := build(t, renamed, 4093)
	for slot := range got {
		if got[slot] != 1_000_000-7*want[slot] {
			t.Fatalf("slot %d holds another backend after the IDs changed", slot)
		}
	}
}

// TestMaglevGolden guards the agreement of a fleet: a load balancer of another
// version must build the same tables. A change here moves flows in upgrades.
func TestMaglevGolden(t *testing.T) {
	small := []Entry{
		{Key: "[2001:db8::1]:443", ID: 1, Weight: 100},
		{Key: "[2001:db8::2]:443", ID: 2, Weight: 300},
		{Key: "192.0.2.7:443", ID: 3, Weight: 1},
	}
	want := []uint32{2, 2, 2, 2, 1, 2, 2, 2, 1, 1, 2, 3, 2}
	if got := build(t, small, 13); !slices.Equal(got, want) {
		t.Errorf("table of 13 slots is %v, want %v", got, want)
	}
	for _, c := range []struct {
		name    string
		entries []Entry
		size    int
		sum     uint64
	}{
		{"equal weights", backends(100, equal), 65537, 0xe9220a3aa169f878},
		{"four weights", backends(1000, func(i int) uint32 { return uint32(1 + i%4) }), 65537, 0x4e0fc9f0bc411405},
		{"all weights differ", backends(300, func(i int) uint32 { return uint32(1 + i*i) }), 4093, 0xd4c4b99df180c107},
	} {
		table := build(t, c.entries, c.size)
		buf := make([]byte, 0, 4*c.size)
		for _, id := range table {
			buf = binary.LittleEndian.AppendUint32(buf, id)
		}
		if sum := crc64.Checksum(buf, crc64.MakeTable(crc64.ECMA)); sum != c.sum {
			t.Errorf("%s: checksum %#x, want %#x", c.name, sum, c.sum)
		}
	}
}

func TestMaglevErrors(t *testing.T) {
	for _, c := range []struct {
		name    string
		entries []Entry
		size    int
		want    string
	}{
		{"no prime", nil, 65536, "maglev: table_size 65536 is not a prime (nearest: 65521 and 65537)"},
		{"negative", nil, -4, "maglev: table_size -4 is not a prime (try 2)"},
		{"too large", nil, 1 << 40, "maglev: table_size 1099511627776 is not a prime up to 2147483647 (try 2147483629)"},
		{"more backends than slots", backends(14, equal), 13, "maglev: 14 backends do not fit into a table of 13 slots (raise table_size; a hundred slots per backend would be 1409)"},
		{"twice", []Entry{{"a", 1, 1}, {"b", 2, 1}, {"a", 3, 1}}, 13, "maglev: backend a is there twice"},
		{"no id", []Entry{{"a", 0, 1}}, 13, "maglev: backend a has id 0, which marks an empty slot"},
	} {
		t.Run(c.name, func(t *testing.T) {
			table, err := Maglev(c.entries, c.size)
			if err == nil || err.Error() != c.want {
				t.Errorf("error is %q, want %q", fmt.Sprint(err), c.want)
			}
			if table != nil {
				t.Error("there is a table beside the error")
			}
		})
	}
}

// TestMaglevSpread: neighbouring keys must not prefer neighbouring slots, or a
// part of the table would belong to few backends.
func TestMaglevSpread(t *testing.T) {
	const size, n = 65537, 100
	starts := make([]int, 16)
	for i := range 1600 {
		offset, skip := permutation(fmt.Sprintf("10.0.%d.%d:80", i>>8, i&255), size)
		if offset < 0 || offset >= size || skip < 1 || skip >= size {
			t.Fatalf("offset %d or skip %d is out of range", offset, skip)
		}
		starts[offset*16/size]++
	}
	for i, got := range starts { // 100 expected, standard deviation 9.7
		if got < n-50 || got > n+50 {
			t.Errorf("%d of 1600 walks start in sixteenth %d, want about %d", got, i, n)
		}
	}
}

func FuzzMaglev(f *testing.F) {
	f.Add("a b c", uint16(3), uint8(5))
	f.Add("10.0.0.1:80 10.0.0.2:80", uint16(0), uint8(0))
	primes := []int{2, 3, 5, 7, 11, 13, 251, 509}
	f.Fuzz(func(t *testing.T, keys string, seed uint16, pick uint8) {
		var entries []Entry
		for i, key := range strings.Fields(keys) {
			entries = append(entries, Entry{Key: key, ID: uint32(i + 1), Weight: uint32(mix(uint64(seed)+uint64(i)) >> (32 + i%32))})
		}
		table, err := Maglev(entries, primes[int(pick)%len(primes)])
		if err != nil {
			return
		}
		slots := count(table)
		for _, e := range entries {
			if (e.Weight > 0) != (slots[e.ID] > 0) {
				t.Fatalf("weight %d has %d slots", e.Weight, slots[e.ID])
			}
			delete(slots, e.ID)
		}
		if delete(slots, 0); len(slots) > 0 {
			t.Fatalf("slots of nobody: %v", slots)
		}
	})
}

func BenchmarkMaglev(b *testing.B) {
	for _, c := range []struct {
		name   string
		n      int
		weight func(int) uint32
	}{
		{"10-equal", 10, equal},
		{"1000-equal", 1000, equal},
		{"1000-distinct", 1000, func(i int) uint32 { return uint32(1 + i*37) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			entries := backends(c.n, c.weight)
			for b.Loop() {
				build(b, entries, 65537)
			}
		})
	}
}

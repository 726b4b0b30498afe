package maps

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/xlb-io/xlb/bpf"
)

// keyKinds are keys of frontends as configurations have them: runs of ports, of
// addresses, and what has no order.
var keyKinds = map[string]struct {
	keyWords int
	key      func(i int, random *rand.Rand) vipWords
}{
	"IPv4 ports": {1, func(i int, _ *rand.Rand) vipWords { return vipWords{0x0a0000c0 | vipTail(uint16(i), 6)<<32} }},
	"IPv4 addresses": {1, func(i int, _ *rand.Rand) vipWords {
		return vipWords{uint64(swap32(0xc0000200+uint32(i))) | vipTail(80, 6)<<32}
	}},
	"IPv4 random": {1, func(_ int, r *rand.Rand) vipWords { return vipWords{r.Uint64()>>8 | 1<<56} }},
	"IPv6 ports":  {3, func(i int, _ *rand.Rand) vipWords { return vipWords{0xb80d0120, 1 << 56, vipTail(uint16(i), 17)} }},
	"IPv6 addresses": {3, func(i int, _ *rand.Rand) vipWords {
		return vipWords{0xb80d0120, uint64(swap32(uint32(i))) << 32, vipTail(443, 6)}
	}},
	"IPv6 networks": {3, func(i int, _ *rand.Rand) vipWords {
		return vipWords{0xb80d0120 | uint64(swap32(uint32(i)))<<32, 1 << 56, vipTail(443, 6)}
	}},
	"IPv6 random": {3, func(_ int, r *rand.Rand) vipWords {
		return vipWords{r.Uint64(), r.Uint64(), vipTail(uint16(r.Uint32()), 6)}
	}},
}

func vipTail(port uint16, protocol uint64) uint64 {
	return uint64(swap16(port)) | protocol<<16 | 1<<24
}

func compareWords(a, b vipWords) int { return slices.Compare(a[:], b[:]) }

func swap32(v uint32) uint32 {
	return uint32(swap16(uint16(v)))<<16 | uint32(swap16(uint16(v>>16)))
}

func emptyBuckets(keyWords, buckets, room int) *vipBuckets {
	return newVIPBuckets(make([]byte, buckets*bpf.VIPCells*(keyWords+1)*8), keyWords, room)
}

// found is what the data plane finds: it follows vips.h step by step.
func (v *vipBuckets) found(key vipWords) (uint64, bool) {
	first, second := v.bucketsOf(key)
	cell := v.in(first, key)
	if cell < 0 && v.load(v.valueAt(first*bpf.VIPCells))&bucketMark != 0 {
		cell = v.in(second, key)
	}
	if cell < 0 {
		return 0, false
	}
	return v.load(v.valueAt(cell)) &^ bucketMark, true
}

// check compares the buckets with a map.
func (v *vipBuckets) check(want map[vipWords]uint64) error {
	got := map[vipWords]uint64{}
	marks := map[int]bool{}
	for cell := range v.buckets() * bpf.VIPCells {
		key, value, ok := v.entry(cell)
		if !ok {
			continue
		}
		if _, twice := got[key]; twice {
			return fmt.Errorf("key %x stands twice", key)
		}
		got[key] = value
		if first, _ := v.bucketsOf(key); first != cell/bpf.VIPCells {
			marks[first] = true
		}
	}
	if !maps.Equal(got, want) || v.used != len(want) {
		return fmt.Errorf("%d entries, counted as %d, want %d", len(got), v.used, len(want))
	}
	for key, value := range want {
		if f, ok := v.found(key); !ok || f != value {
			return fmt.Errorf("the data plane finds %x (%t) for %x, want %x", f, ok, key, value)
		}
	}
	for b := range v.buckets() {
		if marked := v.load(v.valueAt(b*bpf.VIPCells))&bucketMark != 0; marked != marks[b] {
			return fmt.Errorf("bucket %d is marked: %t", b, marked)
		}
	}
	return nil
}

// As many entries go in as there is room for, whatever they are, and not one
// more. Most of them are in their first bucket.
func TestVIPRoom(t *testing.T) {
	for name, kind := range keyKinds {
		for _, room := range []int{1, 5, 16, 127, 128, 129, 4096 + 256, 8192} {
			random := rand.New(rand.NewPCG(1, uint64(room)))
			v := emptyBuckets(kind.keyWords, vipBucketCount(room), room)
			if cells := v.buckets() * bpf.VIPCells; 2*room > cells {
				t.Fatalf("%d cells for %d entries: more than half full", cells, room)
			}
			want := map[vipWords]uint64{}
			for i := 0; len(want) < room; i++ {
				key := kind.key(i, random)
				want[key] = uint64(i)
				if !v.put(key, uint64(i)) {
					t.Fatalf("%s: no room for entry %d of %d", name, i, room)
				}
			}
			if err := v.check(want); err != nil {
				t.Fatalf("%s, %d entries: %v", name, room, err)
			}
			if v.put(kind.key(room, random), 1) {
				t.Errorf("%s: more entries than %d", name, room)
			}
			elsewhere := 0
			for cell := range v.buckets() * bpf.VIPCells {
				key, _, ok := v.entry(cell)
				if first, _ := v.bucketsOf(key); ok && first != cell/bpf.VIPCells {
					elsewhere++
				}
			}
			if room > 100 && elsewhere > room/8 {
				t.Errorf("%s: %d of %d entries are not in their first bucket", name, elsewhere, room)
			}
		}
	}
}

// Random histories end where a map ends, in few buckets too, where keys have to
// move and some find no place; what was there then stays there.
func TestVIPHistories(t *testing.T) {
	steps := 4000
	if testing.Short() {
		steps = 1000
	}
	for name, kind := range keyKinds {
		for _, size := range []struct{ buckets, room int }{{2, 8}, {4, 12}, {8, 16}, {8, 32}, {64, 128}} {
			random := rand.New(rand.NewPCG(2, uint64(size.room)))
			v := emptyBuckets(kind.keyWords, size.buckets, size.room)
			want := map[vipWords]uint64{}
			refused := 0
			for i := range steps {
				key := kind.key(i%(3*size.room/2), random)
				switch known := slices.SortedFunc(maps.Keys(want), compareWords); {
				case random.IntN(3) == 0:
					if random.IntN(8) > 0 && len(known) > 0 {
						key = known[random.IntN(len(known))]
					}
					v.remove(key)
					delete(want, key)
				case v.put(key, uint64(i)):
					want[key] = uint64(i)
				default:
					if _, there := want[key]; there {
						t.Fatalf("%s: no room to change an entry", name)
					}
					refused++
				}
				if err := v.check(want); err != nil {
					t.Fatalf("%s in %d buckets, step %d: %v", name, size.buckets, i, err)
				}
			}
			if refused == 0 {
				t.Errorf("%s in %d buckets: room for %d entries was never used up", name, size.buckets, size.room)
			}
			// Taken over as they are.
			again := *v
			again.used = 0
			for range again.all() {
				again.used++
			}
			if err := again.check(want); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// vipHistory is what a map of frontends looked like after each word that was
// written, and what it meant then.
type vipHistory struct {
	words [][]uint64
	means []map[vipWords]uint64 // an operation's end, from its first word on
	from  []map[vipWords]uint64 // its beginning
}

// reader looks a key up step by step as vips.h does, while time goes on.
type reader struct {
	*vipBuckets
	history *vipHistory
	now     int
	end     int
	pace    func() int // words written before the next step
}

func (r *reader) step(at int) uint64 {
	r.now = min(r.now+r.pace(), r.end)
	return r.history.words[r.now][at]
}

func (r *reader) is(cell int, key vipWords) bool {
	for _, i := range []int{r.keyWords - 1, 0, 1}[:r.keyWords] {
		if r.step(cell*r.cellWords()+i) != key[i] {
			return false
		}
	}
	return true
}

func (r *reader) look(bucket int, key vipWords) (uint64, bool) {
	for cell := bucket * bpf.VIPCells; cell < (bucket+1)*bpf.VIPCells; cell++ {
		if !r.is(cell, key) {
			continue
		}
		if value := r.step(r.valueAt(cell)); r.is(cell, key) {
			return value &^ bucketMark, true
		}
	}
	return 0, false
}

func (r *reader) find(key vipWords) (uint64, bool) {
	first, second := r.bucketsOf(key)
	value, ok := r.look(first, key)
	if !ok && r.step(r.valueAt(first*bpf.VIPCells))&bucketMark != 0 {
		value, ok = r.look(second, key)
	}
	return value, ok
}

// A packet that looks meanwhile finds what was there at some moment of its look,
// whatever is written between any two of its steps. Only if a key goes, another
// comes into its cell and goes, and the first comes back while the packet looks
// could it take the one for the other; so much is not written here.
func TestVIPReaders(t *testing.T) {
	looks := 300_000
	if testing.Short() {
		looks = 50_000
	}
	for _, name := range []string{"IPv4 ports", "IPv4 random", "IPv6 ports", "IPv6 networks"} {
		kind := keyKinds[name]
		random := rand.New(rand.NewPCG(3, uint64(len(name))))
		v := emptyBuckets(kind.keyWords, 4, 14)
		var keys []vipWords
		for i := range 20 {
			keys = append(keys, kind.key(i, random))
		}
		h := &vipHistory{}
		have, want := map[vipWords]uint64{}, map[vipWords]uint64{}
		v.stored = func() {
			h.words = append(h.words, slices.Clone(v.words))
			h.from, h.means = append(h.from, have), append(h.means, want)
		}
		moves := 0
		for i := range 3000 {
			key, value := keys[random.IntN(len(keys))], uint64(i+1)
			have, want = want, maps.Clone(want)
			words := len(h.words)
			if random.IntN(4) == 0 {
				delete(want, key)
				v.remove(key)
			} else if want[key] = value; !v.put(key, value) {
				want = have
			}
			if len(h.words)-words > v.cellWords()+2 {
				moves++
			}
		}
		if moves < 10 {
			t.Errorf("%s: %d operations moved keys", name, moves)
		}
		for range looks {
			// Most steps follow each other at once.
			r := &reader{vipBuckets: v, history: h, now: random.IntN(len(h.words)), pace: func() int {
				return max(0, random.IntN(8)-5) * random.IntN(4)
			}}
			r.end = min(r.now+2*(1+v.cellWords())-1, len(h.words)-1)
			key, from := keys[random.IntN(len(keys))], r.now
			value, ok := r.find(key)
			possible := false
			for i := from; i <= r.now && !possible; i++ {
				for _, m := range []map[vipWords]uint64{h.from[i], h.means[i]} {
					v, there := m[key]
					possible = possible || there == ok && v == value
				}
			}
			if !possible {
				t.Fatalf("%s: a packet found %d (%t) for %x between words %d and %d", name, value, ok, key, from, r.now)
			}
		}
	}
}

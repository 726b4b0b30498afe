package maps

import (
	"iter"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"github.com/xlb-io/xlb/bpf"
)

// vipBuckets is the memory of a map of frontends: an array of buckets of
// [bpf.VIPCells] cells, of a key and a value each. The data plane reads it
// meanwhile, and vips.h says what it relies on. There is one writer at a time.
//
// A key belongs into its first bucket. If that is full, it goes to its second
// one, and if both are, keys that are in their first bucket make room by moving
// to their second: never back, for a reader that looked there before would miss
// it.
type vipBuckets struct {
	words []uint64
	// A cell is keyWords words of key and one of value.
	keyWords int
	// room is the number of entries that may be in it, at most half of the cells.
	room int
	used int
	// stored, if not nil, is called after each word that is written: tests look
	// then as packets may.
	stored func()
}

// vipWords is a key as the data plane reads it: struct vip4_key in the first
// word alone, struct vip6_key in all.
type vipWords [3]uint64

// vipBucketCount returns how many buckets there are for so many entries: a power
// of two, at most half full, and a page at least, for in a few buckets chance
// weighs more.
func vipBucketCount(room int) int {
	const least = 64
	return max(least, 1<<bits.Len(uint((2*room-1)/bpf.VIPCells)))
}

// newVIPBuckets takes memory over as it is. memory is that of the map.
func newVIPBuckets(memory []byte, keyWords, room int) *vipBuckets {
	v := &vipBuckets{
		words:    unsafe.Slice((*uint64)(unsafe.Pointer(&memory[0])), len(memory)/8),
		keyWords: keyWords, room: room,
	}
	for range v.all() {
		v.used++
	}
	return v
}

const (
	bucketMark = uint64(bpf.VIPElsewhere) << 48
	cellFree   = 0
)

func (v *vipBuckets) cellWords() int       { return v.keyWords + 1 }
func (v *vipBuckets) buckets() int         { return len(v.words) / v.cellWords() / bpf.VIPCells }
func (v *vipBuckets) valueAt(cell int) int { return cell*v.cellWords() + v.keyWords }

// tailAt is the place of a key's last word, which is never 0.
func (v *vipBuckets) tailAt(cell int) int { return v.valueAt(cell) - 1 }

func (v *vipBuckets) load(at int) uint64 { return atomic.LoadUint64(&v.words[at]) }

func (v *vipBuckets) store(at int, word uint64) {
	atomic.StoreUint64(&v.words[at], word)
	if v.stored != nil {
		v.stored()
	}
}

// bucketsOf are the first and the second bucket of a key: see vip_bucket() in
// vips.h. They differ.
func (v *vipBuckets) bucketsOf(key vipWords) (first, second int) {
	h := key[0]
	if v.keyWords == 3 {
		h = key[0]*0x9e3779b97f4a7c15 + key[1]*0xc4ceb9fe1a85ec53 + key[2]
	}
	h = mix(h)
	mask := uint32(v.buckets() - 1)
	at := uint32(h >> 40)
	return int(at & mask), int((at + (uint32(h>>8) | 1)) & mask)
}

// entry returns what a cell holds, false if that is nothing or changes meanwhile.
func (v *vipBuckets) entry(cell int) (key vipWords, value uint64, ok bool) {
	tail := v.load(v.tailAt(cell))
	if tail == cellFree {
		return key, 0, false
	}
	read := func() (k vipWords) {
		for i := range v.keyWords {
			k[i] = v.load(cell*v.cellWords() + i)
		}
		return k
	}
	key = read()
	value = v.load(v.valueAt(cell)) &^ bucketMark
	return key, value, key[v.keyWords-1] == tail && read() == key
}

// all goes through the entries.
func (v *vipBuckets) all() iter.Seq2[vipWords, uint64] {
	return func(yield func(vipWords, uint64) bool) {
		for cell := range v.buckets() * bpf.VIPCells {
			if key, value, ok := v.entry(cell); ok && !yield(key, value) {
				return
			}
		}
	}
}

// in returns the cell of a bucket that holds the key, -1 if none does.
func (v *vipBuckets) in(bucket int, key vipWords) int {
	for cell := bucket * bpf.VIPCells; cell < (bucket+1)*bpf.VIPCells; cell++ {
		if k, _, ok := v.entry(cell); ok && k == key {
			return cell
		}
	}
	return -1
}

// free returns a free cell of a bucket, -1 if there is none.
func (v *vipBuckets) free(bucket int) int {
	for cell := bucket * bpf.VIPCells; cell < (bucket+1)*bpf.VIPCells; cell++ {
		if v.load(v.tailAt(cell)) == cellFree {
			return cell
		}
	}
	return -1
}

func (v *vipBuckets) find(key vipWords) int {
	first, second := v.bucketsOf(key)
	if cell := v.in(first, key); cell >= 0 {
		return cell
	}
	return v.in(second, key)
}

// put adds an entry or changes its value; false if there is no room.
func (v *vipBuckets) put(key vipWords, value uint64) bool {
	if cell := v.find(key); cell >= 0 {
		v.setValue(cell, value)
		return true
	}
	if v.used >= v.room {
		return false
	}
	first, second := v.bucketsOf(key)
	cell := v.free(first)
	if cell < 0 {
		cell = v.free(second)
	}
	if cell < 0 {
		cell = v.makeRoom(first, second)
	}
	if cell < 0 {
		return false
	}
	v.fill(cell, key, value)
	v.used++
	return true
}

// remove does nothing if there is no such key.
func (v *vipBuckets) remove(key vipWords) {
	cell := v.find(key)
	if cell < 0 {
		return
	}
	v.store(v.tailAt(cell), cellFree)
	v.used--
	if first, _ := v.bucketsOf(key); first != cell/bpf.VIPCells {
		v.unmark(first)
	}
}

// setValue keeps the mark of the bucket, which its first cell carries.
func (v *vipBuckets) setValue(cell int, value uint64) {
	at := v.valueAt(cell)
	v.store(at, value&^bucketMark|v.load(at)&bucketMark)
}

// fill writes an entry to a free cell: the key's last word last, and then the
// mark by which readers find it.
func (v *vipBuckets) fill(cell int, key vipWords, value uint64) {
	v.setValue(cell, value)
	for i := range v.keyWords {
		v.store(cell*v.cellWords()+i, key[i])
	}
	if first, _ := v.bucketsOf(key); first != cell/bpf.VIPCells {
		at := v.valueAt(first * bpf.VIPCells)
		v.store(at, v.load(at)|bucketMark)
	}
}

// unmark takes a bucket's mark if none of its keys is elsewhere any more.
func (v *vipBuckets) unmark(bucket int) {
	for cell := range v.buckets() * bpf.VIPCells {
		key, _, ok := v.entry(cell)
		if first, _ := v.bucketsOf(key); ok && first == bucket && first != cell/bpf.VIPCells {
			return
		}
	}
	at := v.valueAt(bucket * bpf.VIPCells)
	v.store(at, v.load(at)&^bucketMark)
}

// makeRoom frees a cell of one of two full buckets and returns it. It follows,
// breadth first, where the keys that are in their first bucket could go, and
// moves those of the shortest way, the last one first. -1 if no way ends.
func (v *vipBuckets) makeRoom(buckets ...int) int {
	type step struct {
		cell  int // whose key moves to its second bucket
		after int // the step whose key takes the cell, -1 for none
	}
	var steps []step
	seen := map[int]bool{}
	look := func(bucket, after int) {
		if seen[bucket] {
			return
		}
		seen[bucket] = true
		for cell := bucket * bpf.VIPCells; cell < (bucket+1)*bpf.VIPCells; cell++ {
			key, _, _ := v.entry(cell)
			if first, _ := v.bucketsOf(key); first == bucket {
				steps = append(steps, step{cell, after})
			}
		}
	}
	for _, b := range buckets {
		look(b, -1)
	}
	for i := 0; i < len(steps); i++ {
		key, _, _ := v.entry(steps[i].cell)
		_, second := v.bucketsOf(key)
		to := v.free(second)
		if to < 0 {
			look(second, i)
			continue
		}
		for s := i; s >= 0; s = steps[s].after {
			v.move(steps[s].cell, to)
			to = steps[s].cell
		}
		return to
	}
	return -1
}

// move brings a key to its second bucket, where readers find it before it leaves
// the first.
func (v *vipBuckets) move(from, to int) {
	key, value, _ := v.entry(from)
	v.fill(to, key, value)
	v.store(v.tailAt(from), cellFree)
}

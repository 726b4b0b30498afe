package schedule

// The hash decides the tables of a whole fleet: changing it, or a constant of
// it, moves flows while load balancers of both versions run side by side.

const (
	fnvOffset = 0xcbf29ce484222325 // FNV-1a, 64 bits
	fnvPrime  = 0x00000100000001b3
	golden    = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
)

// hash is FNV-1a over the bytes of key followed by mix. FNV alone leaves keys
// that differ in their last byte, as neighbouring addresses do, close together.
func hash(key string) uint64 {
	h := uint64(fnvOffset)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * fnvPrime
	}
	return mix(h)
}

// mix is the finalizer of SplitMix64: a bijection in which every input bit
// flips every output bit with a probability close to one half.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// permutation gives the start and the step of key's walk over size slots
// (Maglev, NSDI 2016, §3.4: offset and skip). As size is a prime, the walk
// visits every slot once before it repeats.
func permutation(key string, size int) (offset, skip int) {
	if size < 2 {
		return 0, 0
	}
	h := hash(key)
	offset = int(h % uint64(size))
	skip = int(mix(h+golden)%uint64(size-1)) + 1
	return offset, skip
}

package wasm

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// reader reads from b. The first mistake is kept in err; after it all reads give
// zero values, so that callers check once. Places are in the file, from base.
type reader struct {
	b    []byte
	at   int
	base int
	err  error
}

var errEnd = errors.New("unexpected end")

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("at byte %d: %w", r.base+r.at, fmt.Errorf(format, args...))
	}
	r.at = len(r.b)
}

func (r *reader) done() bool { return r.at >= len(r.b) }

func (r *reader) byte() byte {
	if r.done() {
		r.fail("%w", errEnd)
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

// bytes returns the next n bytes, not copied.
func (r *reader) bytes(n uint32) []byte {
	if uint64(n) > uint64(len(r.b)-r.at) {
		r.fail("%w", errEnd)
		return nil
	}
	r.at += int(n)
	return r.b[r.at-int(n) : r.at]
}

// u32 reads an unsigned LEB128 number. Its encoding may be longer than needed, but
// not longer than five bytes: the specification allows that.
func (r *reader) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		c := r.byte()
		v |= uint64(c&0x7f) << shift
		if c&0x80 == 0 {
			if v > math.MaxUint32 {
				break
			}
			return uint32(v)
		}
	}
	r.fail("number of more than 32 bits")
	return 0
}

// signed reads a signed LEB128 number of the given bits.
func (r *reader) signed(bits int) int64 {
	var v int64
	for shift := 0; shift < bits; shift += 7 {
		c := r.byte()
		v |= int64(c&0x7f) << shift
		if c&0x80 != 0 {
			continue
		}
		if rest := bits - shift; rest < 7 {
			// The bits beyond the last must repeat the sign.
			if top := int8(c<<1) >> rest; top != 0 && top != -1 {
				r.fail("number of more than %d bits", bits)
			}
		}
		if shift+7 < 64 && c&0x40 != 0 {
			v |= -1 << (shift + 7)
		}
		return v
	}
	r.fail("number of more than %d bits", bits)
	return 0
}

// count reads the length of a list whose items take at least size bytes each.
func (r *reader) count(size int, most uint32, what string) uint32 {
	n := r.u32()
	switch {
	case n > most:
		r.fail("%d %s are too many, at most %d", n, what, most)
	case uint64(n)*uint64(size) > uint64(len(r.b)-r.at):
		r.fail("%d %s do not fit into their section", n, what)
	}
	if r.err != nil {
		return 0
	}
	return n
}

func (r *reader) name() string {
	b := r.bytes(r.u32())
	if !utf8.Valid(b) {
		r.fail("a name is not UTF-8")
	}
	return string(b)
}

// sub returns a reader of the next n bytes.
func (r *reader) sub(n uint32) *reader {
	base := r.base + r.at
	return &reader{b: r.bytes(n), base: base, err: r.err}
}

func appendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendS64(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func appendBytes(b, data []byte) []byte { return append(appendU32(b, uint32(len(data))), data...) }

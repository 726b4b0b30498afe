package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"
)

// TableEntry is a line of a table, both as they are written in a table file. An
// empty value is 1.
type TableEntry struct {
	Key   string `json:"key"`
	Value string `json:"value,omitempty"`
}

// table is a look-up table. Its contents are replaced, never changed.
type table struct {
	spec     TableSpec
	contents atomic.Pointer[contents]

	mu     sync.Mutex
	source string // a file, "api" or empty
	loaded time.Time
	error  string // of the last reload
}

// contents are what a table holds: of the kinds of keys, one is in use.
type contents struct {
	prefixes  *bart.Table[int64]
	addresses map[netip.Addr]int64
	integers  map[uint64]int64
	database  *database
}

// maxEntries bounds a table, to some hundreds of megabytes.
const maxEntries = 4 << 20

func newContents(kind TableKind) *contents {
	switch kind {
	case TableCIDR:
		return &contents{prefixes: new(bart.Table[int64])}
	case TableAddress:
		return &contents{addresses: map[netip.Addr]int64{}}
	}
	return &contents{integers: map[uint64]int64{}}
}

// lookup returns the value of a key of 128 bits.
func (c *contents) lookup(hi, lo uint64) (int64, bool) {
	switch {
	case c.prefixes != nil:
		return c.prefixes.Lookup(address(hi, lo))
	case c.database != nil:
		return c.database.lookup(address(hi, lo))
	case c.addresses != nil:
		v, ok := c.addresses[address(hi, lo)]
		return v, ok
	}
	v, ok := c.integers[lo]
	return v, ok && hi == 0
}

// size is the number of entries, -1 if that is not known.
func (c *contents) size() int {
	switch {
	case c.prefixes != nil:
		return c.prefixes.Size()
	case c.database != nil:
		return -1
	}
	return len(c.addresses) + len(c.integers)
}

var errTwice = errors.New("the key is given twice, with different values")

// add adds an entry. An equal one that is there already is no mistake.
func (c *contents) add(e TableEntry) error {
	v, err := tableValue(e.Value)
	if err != nil {
		return err
	}
	if c.size() >= maxEntries {
		return fmt.Errorf("more than %d entries", maxEntries)
	}
	switch {
	case c.prefixes != nil:
		p, err := tablePrefix(e.Key)
		if err != nil {
			return err
		}
		if old, ok := c.prefixes.Get(p); ok && old != v {
			return errTwice
		}
		c.prefixes.Insert(p, v)
	case c.addresses != nil:
		a, err := tableAddress(e.Key)
		if err != nil {
			return err
		}
		return put(c.addresses, a, v)
	default:
		n, err := strconv.ParseUint(e.Key, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is no number from 0 to 18446744073709551615", printable(e.Key, 64))
		}
		return put(c.integers, n, v)
	}
	return nil
}

func put[K comparable](m map[K]int64, key K, v int64) error {
	if old, ok := m[key]; ok && old != v {
		return errTwice
	}
	m[key] = v
	return nil
}

// tablePrefix reads a prefix, or an address, which is one of full length.
func tablePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := tableAddress(s)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%q is no prefix and no address", printable(s, 64))
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q: write IPv4 prefixes as IPv4", printable(s, 64))
	}
	if p.Masked() != p {
		return netip.Prefix{}, fmt.Errorf("%s has bits after the prefix (%s is meant?)", p, p.Masked())
	}
	return p, nil
}

func tableAddress(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return a, fmt.Errorf("%q is no address", printable(s, 64))
	}
	return a.Unmap(), nil
}

// maxWord is the longest word that fits into a value.
const maxWord = 8

// tableValue reads a number, or a word that is packed into one: its bytes are the
// number's, the last one lowest.
func tableValue(s string) (int64, error) {
	if s == "" {
		return 1, nil
	}
	if s[0] >= '0' && s[0] <= '9' {
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("the value %q is no number from 0 to 9223372036854775807", printable(s, 64))
		}
		return v, nil
	}
	if v, ok := packWord(s); ok {
		return v, nil
	}
	return 0, fmt.Errorf("the value %q is no number and no word of 1 to %d letters", printable(s, 64), maxWord)
}

// packWord packs 1 to 8 bytes of printable ASCII; "DE" is 0x4445.
func packWord(s string) (int64, bool) {
	if len(s) == 0 || len(s) > maxWord {
		return 0, false
	}
	v := int64(0)
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return 0, false
		}
		v = v<<8 | int64(s[i])
	}
	return v, true
}

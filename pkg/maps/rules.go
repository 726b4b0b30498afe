package maps

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/pkg/model"
)

// Rules are what becomes of a service's packets by their source: of the prefixes
// that hold it the longest decides. They are sorted by family, address and length,
// shared, and never changed in place.
type Rules []Rule

// Rule is one prefix.
type Rule struct {
	Prefix  netip.Prefix  `json:"prefix"`
	Verdict model.Verdict `json:"verdict"`
	// Table is the number of the table that flows ask which are taken; 0: the
	// service's own.
	Table uint32 `json:"table,omitzero"`
}

// Equal says whether two services' rules do the same. It costs nothing if they are
// the same memory.
func (r Rules) Equal(s Rules) bool { return same(r, s) }

// Subset is whose a table is that is not a service's own.
type Subset struct {
	// Service is the service's number.
	Service uint32 `json:"service"`
	// Tag and Zone are those of the backends, of at most 63 bytes; one may be
	// empty.
	Tag  string `json:"tag,omitzero"`
	Zone string `json:"zone,omitzero"`
}

// Limits are how many new flows a service takes. What is zero is no limit.
type Limits struct {
	Rate          Rate `json:"rate,omitzero"`
	RatePerSource Rate `json:"rate_per_source,omitzero"`
	// IPv4 and IPv6 are the lengths of the prefixes that are a source; 0 without
	// RatePerSource.
	IPv4           uint8  `json:"ipv4,omitzero"`
	IPv6           uint8  `json:"ipv6,omitzero"`
	MaxConnections uint32 `json:"max_connections,omitzero"`
}

// Rate is new flows per second, and how many may come at once: 1 to 10,000,000.
type Rate struct {
	PerSecond uint32 `json:"per_second"`
	Burst     uint32 `json:"burst"`
}

// check returns what the kernel must not be given.
func (l Limits) check() error {
	for _, r := range []Rate{l.Rate, l.RatePerSource} {
		if r != (Rate{}) && (r.PerSecond == 0 || r.Burst == 0 || r.PerSecond > bpf.RateMask || r.Burst > bpf.RateMask) {
			return fmt.Errorf("a rate of %d per second, %d at once (want 1 to %d)", r.PerSecond, r.Burst, bpf.RateMask)
		}
	}
	switch bySource := l.RatePerSource != (Rate{}); {
	case l.IPv4 > 32 || l.IPv6 > 128 || bySource != (l.IPv4 > 0 && l.IPv6 > 0):
		return fmt.Errorf("sources are prefixes of %d and %d bits (want 1 to 32 and 1 to 128 with a rate per source, else 0)", l.IPv4, l.IPv6)
	case l.MaxConnections > math.MaxInt32:
		return fmt.Errorf("max_connections %d (want at most %d)", l.MaxConnections, math.MaxInt32)
	}
	return nil
}

func (l Limits) encode(out *bpf.Service) error {
	if err := l.check(); err != nil {
		return err
	}
	if r := l.Rate; r != (Rate{}) {
		out.Options |= bpf.OptionRate
		out.Rate, out.Burst = r.PerSecond, r.Burst
	}
	if r := l.RatePerSource; r != (Rate{}) {
		out.Options |= bpf.OptionRateSource
		out.RatePerSource = uint32(l.IPv4)<<bpf.RateBits | r.PerSecond
		out.BurstPerSource = uint32(l.IPv6)<<bpf.RateBits | r.Burst
	}
	if l.MaxConnections > 0 {
		out.Options |= bpf.OptionConnections
		out.Connections = l.MaxConnections
	}
	return nil
}

// decodeLimits is the inverse of [Limits.encode].
func decodeLimits(s bpf.Service) (l Limits) {
	if s.Options&bpf.OptionRate != 0 {
		l.Rate = Rate{s.Rate, s.Burst}
	}
	if s.Options&bpf.OptionRateSource != 0 {
		l.RatePerSource = Rate{s.RatePerSource & bpf.RateMask, s.BurstPerSource & bpf.RateMask}
		l.IPv4, l.IPv6 = uint8(s.RatePerSource>>bpf.RateBits), uint8(s.BurstPerSource>>bpf.RateBits)
	}
	if s.Options&bpf.OptionConnections != 0 {
		l.MaxConnections = s.Connections
	}
	return l
}

// IPv4 is the part ::ffff:0:0/96 of the trie.
const mapped = 96

func encodeRule(r Rule) (key bpf.RuleKey, value uint32) {
	key.Length = uint32(r.Prefix.Bits())
	if r.Prefix.Addr().Is4() {
		key.Length += mapped
	}
	a := r.Prefix.Addr().As16()
	for i := range key.Word {
		key.Word[i] = binary.NativeEndian.Uint32(a[i*4:])
	}
	switch r.Verdict {
	case model.Denied:
		return key, bpf.RuleDenied
	case model.NotAllowed:
		return key, bpf.RuleNotAllowed
	}
	return key, r.Table
}

func decodeRule(key bpf.RuleKey, value uint32) Rule {
	var b [16]byte
	for i, w := range key.Word {
		binary.NativeEndian.PutUint32(b[i*4:], w)
	}
	a, length := netip.AddrFrom16(b), int(key.Length)
	if a.Is4In6() && length >= mapped {
		a, length = a.Unmap(), length-mapped
	}
	out := Rule{Prefix: netip.PrefixFrom(a, length)}
	switch {
	case value&bpf.RuleDenied != 0:
		out.Verdict = model.Denied
	case value&bpf.RuleNotAllowed != 0:
		out.Verdict = model.NotAllowed
	default:
		out.Table = value
	}
	return out
}

// check returns what the kernel must not be given.
func (r Rules) check() error {
	for i, one := range r {
		switch {
		case !one.Prefix.IsValid() || one.Prefix.Masked() != one.Prefix || one.Prefix.Addr().Is4In6() || one.Prefix.Addr().Zone() != "":
			return fmt.Errorf("%v is not a prefix", one.Prefix)
		case one.Table != 0 && one.Verdict != model.Taken:
			return fmt.Errorf("%s is %s, and has a table", one.Prefix, one.Verdict)
		case i > 0 && r[i-1].Prefix.Compare(one.Prefix) >= 0:
			return fmt.Errorf("%s follows %s (want ascending order)", one.Prefix, r[i-1].Prefix)
		}
	}
	return nil
}

// SortRules puts rules into their order.
func SortRules(r Rules) {
	slices.SortFunc(r, func(a, b Rule) int { return a.Prefix.Compare(b.Prefix) })
}

// RuleKey is the key of a rule in a dump.
type RuleKey struct {
	Service uint32       `json:"service"`
	Prefix  netip.Prefix `json:"prefix"`
}

type ruleValue struct {
	Verdict model.Verdict `json:"verdict"`
	Table   uint32        `json:"table,omitzero"`
}

func (s *Set) dumpRules() ([]DumpEntry, error) {
	c := Contents{}.Clone()
	if err := s.readRules(&c); err != nil {
		return nil, err
	}
	var out []DumpEntry
	for _, id := range sortedNumbers(c.Rules, func(r Rules) any { return r }) {
		for _, r := range id.Value.(Rules) {
			out = append(out, DumpEntry{Key: RuleKey{id.Key.(uint32), r.Prefix}, Value: ruleValue{r.Verdict, r.Table}})
		}
	}
	return out, nil
}

// rulesOf gathers the rules of a dump by service.
func rulesOf(d Dump) map[uint32]Rules {
	out := map[uint32]Rules{}
	for k, v := range entriesOf[RuleKey, ruleValue](d) {
		out[k.Service] = append(out[k.Service], Rule{k.Prefix, v.Verdict, v.Table})
	}
	for _, r := range out {
		SortRules(r)
	}
	return out
}

func (s *Set) dumpSubsets() ([]DumpEntry, error) {
	c := Contents{}.Clone()
	err := s.readSubsets(&c)
	return sortedNumbers(c.Subsets, func(v Subset) any { return v }), err
}

// dumpServiceRates shows how much of each service's burst is used up now.
func (s *Set) dumpServiceRates() ([]DumpEntry, error) {
	var out []DumpEntry
	now := now64()
	err := eachArray(s.maps[serviceRatesName], serviceRatesName, func(id uint32, full uint64) {
		if full > now {
			out = append(out, DumpEntry{Key: id, Value: rateValue(full, now)})
		}
	})
	return out, err
}

func (s *Set) dumpSourceRates() ([]DumpEntry, error) {
	var out []DumpEntry
	now := now64()
	err := each(s.maps[sourceRatesName], sourceRatesName, func(k bpf.RateKey, full uint64) {
		if full <= now {
			return
		}
		ipv6 := k.Source.Byte[0] != 0 // no unicast address begins with eight zeros but IPv4's
		out = append(out, DumpEntry{
			Key:   map[string]any{"service": k.Service, "source": decodeAddr(k.Source, ipv6)},
			Value: rateValue(full, now),
		})
	})
	slices.SortFunc(out, func(a, b DumpEntry) int {
		x, y := a.Key.(map[string]any), b.Key.(map[string]any)
		return cmp.Or(cmp.Compare(x["service"].(uint32), y["service"].(uint32)), x["source"].(netip.Addr).Compare(y["source"].(netip.Addr)))
	})
	return out, err
}

func rateValue(full, now uint64) map[string]any {
	return map[string]any{"full_ms": float64((full-now)>>4/1000) / 1000}
}

func (s *Set) dumpServiceRefused() ([]DumpEntry, error) {
	var out []DumpEntry
	for id := range s.maps[serviceRefusedName].MaxEntries() {
		r, err := s.Refused(id)
		if err != nil {
			return nil, err
		}
		if r != (Refused{}) {
			out = append(out, DumpEntry{Key: id, Value: r})
		}
	}
	return out, nil
}

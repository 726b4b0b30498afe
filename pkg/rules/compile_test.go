package rules

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/model"
)

// naive asks the lists one after the other, as the documentation tells it.
func naive(r model.Rules, files map[string]*model.Networks, a netip.Addr) Rule {
	longest := func(origins []model.Origin) int {
		length := -1
		for _, o := range origins {
			list := []netip.Prefix{o.Prefix}
			if o.File != "" {
				list = files[o.File].Prefixes
			}
			for _, p := range list {
				if p.Contains(a) {
					length = max(length, p.Bits())
				}
			}
		}
		return length
	}
	allow, deny := longest(r.Allow), longest(r.Deny)
	if deny >= 0 && deny >= allow {
		return Rule{Verdict: model.Denied}
	}
	if r.Allow != nil && allow < 0 {
		return Rule{Verdict: model.NotAllowed}
	}
	for _, s := range r.Steer {
		if longest(s.From) >= 0 {
			return Rule{To: s.To}
		}
		if s.GeoIP == "" {
			continue
		}
		for place, list := range files[s.GeoIP].Places {
			there := slices.Contains(s.Countries, place.Country) || slices.Contains(s.Continents, place.Continent)
			if there && slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) }) {
				return Rule{To: s.To}
			}
		}
	}
	return Rule{To: r.Default}
}

// lookup is what the kernel does with compiled rules.
func lookup(rules []Rule, a netip.Addr) Rule {
	best := Rule{}
	length := -1
	for _, r := range rules {
		if r.Prefix.Contains(a) && r.Prefix.Bits() > length {
			best, length = r, r.Prefix.Bits()
		}
	}
	best.Prefix = netip.Prefix{}
	return best
}

// world makes random rules over few addresses, so that prefixes nest and meet.
type world struct{ *rand.Rand }

func (w world) prefix() netip.Prefix {
	if w.IntN(2) == 0 {
		a := netip.AddrFrom4([4]byte{10, byte(w.IntN(3)), byte(w.IntN(4) * 64), byte(w.IntN(256))})
		p, _ := a.Prefix(w.IntN(33))
		return p
	}
	b := [16]byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, byte(w.IntN(3)), 0, 0, 0, 0, 0, 0, 0, byte(w.IntN(8))}
	if w.IntN(8) == 0 { // where IPv4 addresses are in the kernel's trie
		b = netip.AddrFrom4([4]byte{10, 0, 0, byte(w.IntN(256))}).As16()
		p, _ := netip.AddrFrom16(b).Prefix(w.IntN(96))
		return p
	}
	p, _ := netip.AddrFrom16(b).Prefix(w.IntN(129))
	return p
}

func (w world) prefixes(most int) (out []netip.Prefix) {
	for range w.IntN(most + 1) {
		out = append(out, w.prefix())
	}
	return out
}

func (w world) origins(files map[string]*model.Networks) []model.Origin {
	out := []model.Origin{}
	for _, p := range w.prefixes(4) {
		out = append(out, model.Origin{Prefix: p})
	}
	if w.IntN(2) == 0 {
		name := fmt.Sprint("list", len(files))
		files[name] = &model.Networks{Prefixes: w.prefixes(6)}
		out = append(out, model.Origin{File: name})
	}
	return out
}

func (w world) rules() (model.Rules, map[string]*model.Networks) {
	files := map[string]*model.Networks{}
	var r model.Rules
	if w.IntN(2) == 0 {
		r.Allow = w.origins(files)
	}
	if w.IntN(2) == 0 {
		r.Deny = w.origins(files)
	}
	for i := range w.IntN(4) {
		s := model.Steer{To: model.Subset{Tag: fmt.Sprint(i % 3)}}
		if w.IntN(2) == 0 {
			s.From = w.origins(files)
		} else {
			s.GeoIP, s.Countries, s.Continents = "geo", []string{"DE"}, []string{"AS"}
		}
		r.Steer = append(r.Steer, s)
	}
	files["geo"] = &model.Networks{Places: map[model.Place][]netip.Prefix{
		{Country: "DE", Continent: "EU"}: w.prefixes(4), {Country: "JP", Continent: "AS"}: w.prefixes(4),
		{Country: "FR", Continent: "EU"}: w.prefixes(4), {Continent: "AS"}: w.prefixes(2),
	}}
	if w.IntN(2) == 0 {
		r.Default = model.Subset{Zone: "default"}
	}
	return r, files
}

// Compiled rules say of every address what the lists say one after the other.
func TestCompiledEqualsNaive(t *testing.T) {
	for seed := range uint64(2000) {
		w := world{rand.New(rand.NewPCG(seed, 1))}
		r, files := w.rules()
		compiled, err := Compile(r, files)
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			p := w.prefix()
			for _, a := range []netip.Addr{p.Addr(), last(p)} {
				if a.Is4In6() {
					continue // no packet has one
				}
				if got, want := lookup(compiled, a), naive(r, files, a); got != want {
					t.Fatalf("seed %d: %v is %+v, want %+v\nrules %+v\ncompiled %v", seed, a, got, want, r, compiled)
				}
			}
		}
		if !slices.IsSortedFunc(compiled, func(a, b Rule) int { return a.Prefix.Compare(b.Prefix) }) {
			t.Fatalf("seed %d: not sorted: %v", seed, compiled)
		}
		if n := len(slices.CompactFunc(slices.Clone(compiled), func(a, b Rule) bool { return a.Prefix == b.Prefix })); n != len(compiled) {
			t.Fatalf("seed %d: a prefix stands twice", seed)
		}
	}
}

// last is the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// What says nothing new is left out.
func TestCompileIsShort(t *testing.T) {
	origin := func(list ...string) (out []model.Origin) {
		for _, p := range list {
			out = append(out, model.Origin{Prefix: netip.MustParsePrefix(p)})
		}
		return out
	}
	rules, err := Compile(model.Rules{Deny: origin("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24"), Allow: origin("10.1.0.0/16", "192.0.2.0/24", "192.0.2.7/32")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rules {
		got = append(got, fmt.Sprint(r.Prefix, " ", r.Verdict))
	}
	want := []string{"0.0.0.0/0 not-allowed", "10.0.0.0/8 denied", "192.0.2.0/24 taken", "::/0 not-allowed"}
	if !slices.Equal(got, want) {
		t.Errorf("compiled to %q, want %q", got, want)
	}
}

func TestCompileMissesFile(t *testing.T) {
	for _, r := range []model.Rules{
		{Deny: []model.Origin{{File: "x"}}},
		{Steer: []model.Steer{{GeoIP: "x"}}},
	} {
		if _, err := Compile(r, nil); err == nil {
			t.Errorf("%+v compiles without its file", r)
		}
	}
}

// TestDocumented is the table of docs/rules.md.
func TestDocumented(t *testing.T) {
	list := func(text string) (out []model.Origin) {
		for _, p := range strings.Fields(text) {
			prefix, err := ParsePrefix(p)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, model.Origin{Prefix: prefix})
		}
		return out
	}
	const yes, denied, no = model.Taken, model.Denied, model.NotAllowed
	for _, c := range []struct {
		allow, deny string
		want        [3]model.Verdict
	}{
		{"", "10.1.2.0/24", [3]model.Verdict{denied, yes, yes}},
		{"10.0.0.0/8", "", [3]model.Verdict{yes, yes, no}},
		{"10.0.0.0/8", "10.1.2.0/24", [3]model.Verdict{denied, yes, no}},
		{"10.0.0.0/8 10.1.2.3", "10.1.0.0/16", [3]model.Verdict{yes, denied, no}},
		{"10.1.2.0/24", "10.1.2.0/24", [3]model.Verdict{denied, no, no}},
	} {
		compiled, err := Compile(model.Rules{Allow: list(c.allow), Deny: list(c.deny)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range []string{"10.1.2.3", "10.1.9.9", "192.0.2.1"} {
			if got := lookup(compiled, netip.MustParseAddr(a)).Verdict; got != c.want[i] {
				t.Errorf("allow %q, deny %q: %s is %s, want %s", c.allow, c.deny, a, got, c.want[i])
			}
		}
		if got := lookup(compiled, netip.MustParseAddr("2001:db8::1")).Verdict; (got == no) != (c.allow != "") {
			t.Errorf("allow %q, deny %q: IPv6 is %s", c.allow, c.deny, got)
		}
	}
}

package rules

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

func write(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadList(t *testing.T) {
	n, err := Read(write(t, "list", []byte("# office\r\n\r\n 192.0.2.0/24 # here\n2001:db8::/32;v6\n10.0.0.1\n192.0.2.0/24\n0.0.0.0/0")))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range n.Prefixes {
		got = append(got, p.String())
	}
	if want := []string{"0.0.0.0/0", "10.0.0.1/32", "192.0.2.0/24", "2001:db8::/32"}; !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
	if n.Len() != 4 || n.Size != 81 || n.Modified.IsZero() {
		t.Errorf("%d prefixes, %d bytes, of %v", n.Len(), n.Size, n.Modified)
	}
}

func TestReadErrors(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	empty := &testlab.GeoDatabase{}
	empty.Add("10.0.0.0/8", "city", "Berlin")
	for want, path := range map[string]string{
		"list:2: \"10.0.0.256\" is no address":       write(t, "list", []byte("10.0.0.1\n10.0.0.256\n")),
		"list:1: \"10.0.0.0/8 yes\"":                 write(t, "list", []byte("10.0.0.0/8 yes\n")),
		"list:1: 10.1.0.0/8 has bits set behind":     write(t, "list", []byte("10.1.0.0/8")),
		"list:1: ::ffff:10.0.0.0/104 is IPv4":        write(t, "list", []byte("::ffff:10.0.0.0/104")),
		"list:1: \"fe80::1%eth0\" is no address":     write(t, "list", []byte("fe80::1%eth0")),
		"list:1: the line is far too long":           write(t, "list", bytes.Repeat([]byte("1"), 1<<20)),
		"is no regular file":                         fifo,
		"no such file":                               "/nowhere/list",
		"x.mmdb: error opening database":             write(t, "x.mmdb", []byte("nonsense")),
		"no record has country.iso_code, country_co": write(t, "x.mmdb", empty.Bytes()),
	} {
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one that says %q", path, err, want)
		}
	}
}

func TestReadDatabase(t *testing.T) {
	d := &testlab.GeoDatabase{}
	d.Add("192.0.2.0/24", "country", []any{"iso_code", "DE"}, "continent", []any{"code", "EU"})
	d.Add("2001:db8::/32", "country_code", "JP")
	d.Add("198.51.100.0/24", "country_code", "de")
	d.Add("203.0.113.0/25", "continent", []any{"code", "AF"})
	d.Add("203.0.113.128/25", "country_code", "ZZ") // nobody's
	n, err := Read(write(t, "geo.mmdb", d.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	prefix := netip.MustParsePrefix
	want := map[model.Place][]netip.Prefix{
		{Country: "DE", Continent: "EU"}: {prefix("192.0.2.0/24"), prefix("198.51.100.0/24")},
		{Country: "JP", Continent: "AS"}: {prefix("2001:db8::/32")},
		{Continent: "AF"}:                {prefix("203.0.113.0/25")},
		{Country: "ZZ"}:                  {prefix("203.0.113.128/25")},
	}
	if d := cmp.Diff(want, n.Places, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, c := range Continents {
		if !slices.ContainsFunc([]string{"AO", "AQ", "JP", "DE", "US", "AU", "BR"}, func(country string) bool { return continents[country] == c }) {
			t.Errorf("no country is in %s", c)
		}
	}
}

func TestLooksLikePrefix(t *testing.T) {
	for text, want := range map[string]bool{
		"10.0.0.1": true, "10.0.0.0/33": true, "::": true, "fe80::/10": true, "2001:db8::1": true, "10.0.0.0/": true,
		"list": false, "beef": false, "lists/a": false, "./10.0.0.1": false, "blocked.txt": false, "/etc/a.b": false, "": false,
	} {
		if LooksLikePrefix(text) != want {
			t.Errorf("%q looks like a prefix: %v", text, !want)
		}
	}
}

func FuzzReadPrefixes(f *testing.F) {
	f.Add([]byte("10.0.0.0/8\n::/0 # all\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, line, err := readPrefixes(data)
		if err != nil {
			if line < 1 || list != nil {
				t.Errorf("mistake in line %d, with %d prefixes", line, len(list))
			}
			return
		}
		for i, p := range list {
			if !p.IsValid() || p.Masked() != p || p.Addr().Is4In6() || i > 0 && list[i-1].Compare(p) >= 0 {
				t.Errorf("prefix %v at %d", p, i)
			}
		}
	})
}

// many is a file of n networks.
func many(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "%d.%d.%d.0/24\n", 1+i>>16, i>>8&255, i&255)
	}
	return b.Bytes()
}

func BenchmarkRead100k(b *testing.B) {
	path := write(b, "list", many(100_000))
	for b.Loop() {
		if _, err := Read(path); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile100k(b *testing.B) {
	n, err := Read(write(b, "list", many(100_000)))
	if err != nil {
		b.Fatal(err)
	}
	r := model.Rules{Deny: []model.Origin{{File: "list"}}}
	for b.Loop() {
		if _, err := Compile(r, map[string]*model.Networks{"list": n}); err != nil {
			b.Fatal(err)
		}
	}
}

package policy

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/model"
)

// get looks an address or a number up.
func get(t *testing.T, c *contents, key string) int64 {
	t.Helper()
	hi, lo := uint64(0), uint64(0)
	if a, err := netip.ParseAddr(key); err == nil {
		hi, lo = halves(a)
	} else {
		for _, d := range key {
			lo = lo*10 + uint64(d-'0')
		}
	}
	v, ok := c.lookup(hi, lo)
	if !ok {
		return -1
	}
	return v
}

func TestTableFile(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		kind TableKind
		file string
		want map[string]int64
	}{
		{TableCIDR, "# who\n10.0.0.0/8 1\n10.1.0.0/16 DE # with a comment\n\n 192.0.2.7\n2001:db8::/32\t9223372036854775807\n10.0.0.0/8 1\n", map[string]int64{
			"10.2.3.4": 1, "10.1.2.3": 0x4445, "::ffff:10.1.2.3": 0x4445, "192.0.2.7": 1, "192.0.2.8": -1, "2001:db8::5": 1<<63 - 1, "::1": -1,
		}},
		{TableCIDR, "0.0.0.0/0 4\n::/0 6\n", map[string]int64{"1.2.3.4": 4, "2001:db8::1": 6}},
		{TableAddress, "192.0.2.7 5\n::ffff:192.0.2.8 6\n2001:db8::1 7", map[string]int64{
			"192.0.2.7": 5, "192.0.2.8": 6, "2001:db8::1": 7, "192.0.2.9": -1,
		}},
		{TableInteger, "0 zero\n18446744073709551615 2", map[string]int64{
			"0": 'z'<<24 | 'e'<<16 | 'r'<<8 | 'o', "18446744073709551615": 2, "1": -1, "2001:db8::": -1,
		}},
		{TableInteger, "", map[string]int64{"0": -1}},
	}
	for _, tt := range tests {
		c, err := readTable(write(t, dir, "table", []byte(tt.file)), tt.kind)
		if err != nil {
			t.Fatalf("%q: %v", tt.file, err)
		}
		for key, want := range tt.want {
			if got := get(t, c, key); got != want {
				t.Errorf("%q: %s is %#x, want %#x", tt.file, key, got, want)
			}
		}
	}
}

func TestTableFileErrors(t *testing.T) {
	dir := t.TempDir()
	for file, want := range map[string]string{
		"10.0.0.1/8":               ":1: 10.0.0.1/8 has bits after the prefix (10.0.0.0/8 is meant?)",
		"10.0.0.0/8\nx 1":          `:2: "x" is no prefix and no address`,
		"10.0.0.0/33":              `:1: "10.0.0.0/33" is no prefix and no address`,
		"::ffff:10.0.0.0/104":      ":1: \"::ffff:10.0.0.0/104\": write IPv4 prefixes as IPv4",
		"10.0.0.0/8 1 2":           ":1: 3 words, a line is KEY or KEY VALUE",
		"10.0.0.0/8 ninechars":     `:1: the value "ninechars" is no number and no word of 1 to 8 letters`,
		"10.0.0.0/8 -1x\u00e4":     `is no number and no word`,
		"10.0.0.0/8 0x1":           `:1: the value "0x1" is no number from 0 to`,
		"10.0.0.0/8 1\n10/8":       ":2: ",
		"1.1.1.1 1\n1.1.1.1/32 2":  ":2: the key is given twice, with different values",
		strings.Repeat("x", 10000): ":1: bufio.Scanner: token too long",
	} {
		_, err := readTable(write(t, dir, "table", []byte(file)), TableCIDR)
		wants(t, err, dir+"/table:", want)
	}
	_, err := readTable(write(t, dir, "table", []byte("1 2\n-1 2")), TableInteger)
	wants(t, err, `table:2: "-1" is no number from 0 to 18446744073709551615`)
	_, err = readTable(write(t, dir, "table", []byte("fe80::1%eth0")), TableAddress)
	wants(t, err, `table:1: "fe80::1%eth0" is no address`)
	_, err = readTable(filepath.Join(dir, "missing"), TableCIDR)
	wants(t, err, "no such file")
}

// TestReloadTables: a table follows its file without the module noticing; one whose
// file is wrong stays.
func TestReloadTables(t *testing.T) {
	file := write(t, t.TempDir(), "clients", []byte("192.0.2.0/24 7\n"))
	p := load(t, newRuntime(t, Options{}), "guest", "", func(s *model.Policy) { s.Tables = map[string]string{"clients": file} })
	w := worker(t, p)
	check := func(want int) {
		t.Helper()
		if v, err := w.Flow(from(1)); err != nil || int(v.Reason) != want {
			t.Errorf("the table has %d, want %d: %v", v.Reason, want, err)
		}
	}
	check(7)
	os.WriteFile(file, []byte("192.0.2.0/24 8\n"), 0o600)
	if err := p.ReloadTables(); err != nil {
		t.Fatal(err)
	}
	check(8)
	os.WriteFile(file, []byte("192.0.2.0/24 8\nx\n"), 0o600)
	wants(t, p.ReloadTables(), `policy "test-guest": tables: table clients: `+file+`:2: "x" is no prefix`)
	check(8)
	s := p.Stats().Tables
	if len(s) != 3 || s[0].Name != "clients" || s[0].Kind != TableCIDR || s[0].Source != file || s[0].Entries != 1 || s[0].Error == "" || s[0].Loaded.IsZero() {
		t.Errorf("%+v", s)
	}
	wants(t, p.SetTable("clients", nil), "it is filled from "+file)
	_, err := tryLoad(t, p.rt, "guest", "", func(s *model.Policy) { s.Tables = map[string]string{"clients": file} })
	wants(t, err, `policy "test-guest": tables: table clients: `+file+":2: ")
}

// TestSetTable: what the API sets is there at once, and outlives a reload.
func TestSetTable(t *testing.T) {
	r := newRuntime(t, Options{})
	p := load(t, r, "guest", "")
	w := worker(t, p)
	if v, err := w.Flow(from(1)); err != nil || v.Reason != 0xffff {
		t.Errorf("an empty table: %+v %v", v, err)
	}
	if err := p.SetTable("clients", []TableEntry{{"192.0.2.0/24", ""}, {"192.0.2.1", "A"}}); err != nil {
		t.Fatal(err)
	}
	if v, err := w.Flow(from(1)); err != nil || v.Reason != 'A' {
		t.Errorf("%+v %v", v, err)
	}
	wants(t, p.SetTable("hosts", []TableEntry{{"1.2.3.4", ""}, {"1.2.3.4/8", ""}}), `policy "test-guest": tables: table hosts: entry 2: "1.2.3.4/8" is no address`)
	wants(t, p.SetTable("x", nil), `policy "test-guest": tables: the policy has no table "x" (it has: clients, hosts, ports)`)
	next := load(t, r, "guest", "")
	next.Inherit(p)
	if v, err := worker(t, next).Flow(from(1)); err != nil || v.Reason != 'A' {
		t.Errorf("after a reload: %+v %v", v, err)
	}
	if s := next.Stats(); s.Counters["calls"] != 3 || s.Tables[0].Source != fromAPI || s.Hooks[HookFlow].Calls != 3 {
		t.Errorf("%+v", s)
	}
}

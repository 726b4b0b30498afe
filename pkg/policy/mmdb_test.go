package policy

import (
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
)

func TestDatabase(t *testing.T) {
	d := &testlab.GeoDatabase{}
	country := func(code string) []any { return []any{"country", []any{"iso_code", code}} }
	d.Add("192.0.2.0/24", append(country("DE"), "autonomous_system_number", uint32(64496), "is_anycast", true)...)
	d.Add("2001:db8::/32", append(country("FR"), "autonomous_system_number", uint32(64497))...)
	d.Add("198.51.100.0/24", "other", "a very long text")
	path := write(t, t.TempDir(), "geo.mmdb", d.Bytes())
	tests := []struct {
		field, address string
		want           int64
	}{
		{"", "192.0.2.9", 0x4445},
		{"#country.iso_code", "2001:db8::7", 0x4652},
		{"", "198.51.100.1", -1},
		{"", "203.0.113.1", -1},
		{"#autonomous_system_number", "192.0.2.1", 64496},
		{"#is_anycast", "192.0.2.1", 1},
		{"#is_anycast", "2001:db8::7", -1},
	}
	for _, tt := range tests {
		c, err := readTable(path+tt.field, TableCIDR)
		if err != nil {
			t.Fatalf("%s: %v", tt.field, err)
		}
		if got := get(t, c, tt.address); got != tt.want || c.size() != -1 {
			t.Errorf("%s of %s is %#x, want %#x", tt.field, tt.address, got, tt.want)
		}
	}
	_, err := readTable(path+"#country.iso", TableCIDR)
	wants(t, err, path+`: no network has the field "country.iso" (the first one has`, "country")
	_, err = readTable(path+"#other", TableCIDR)
	wants(t, err, `no network has the field "other"`)
	_, err = readTable(path, TableInteger)
	wants(t, err, "a database fills tables of kind cidr only, this one is of kind integer")
	_, err = readTable(write(t, t.TempDir(), "bad.mmdb", []byte("x")), TableCIDR)
	wants(t, err, "bad.mmdb: ")
}

package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
)

// database is a MaxMind database in memory, of which one field is looked up. It is
// not mapped: a file that is cut while it is mapped ends the process.
type database struct {
	reader *maxminddb.Reader
	field  []any
}

const (
	maxDatabase  = 1 << 30
	defaultField = "country.iso_code"
	// proof is in how many networks the field is looked for before it counts as
	// misspelt.
	proof = 100_000
)

func readDatabase(path, field string, kind TableKind) (*contents, error) {
	if kind != TableCIDR {
		return nil, fmt.Errorf("%s: a database fills tables of kind %s only, this one is of kind %s", path, TableCIDR, kind)
	}
	if field == "" {
		field = defaultField
	}
	data, err := readFile(path, maxDatabase)
	if err != nil {
		return nil, err
	}
	r, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	d := &database{reader: r, field: fieldPath(field)}
	if !d.hasField() {
		return nil, fmt.Errorf("%s: no network has the field %q (%s)", path, field, strings.Join(d.fields(), ", "))
	}
	return &contents{database: d}, nil
}

// fieldPath splits "subdivisions.0.iso_code" into names and indices.
func fieldPath(field string) []any {
	var path []any
	for part := range strings.SplitSeq(field, ".") {
		if n, err := strconv.Atoi(part); err == nil {
			path = append(path, n)
			continue
		}
		path = append(path, part)
	}
	return path
}

func (d *database) hasField() bool {
	n := 0
	for result := range d.reader.Networks() {
		if _, ok := d.value(result); ok {
			return true
		}
		if n++; n == proof {
			break
		}
	}
	return false
}

// fields are the names in the first record, for an error.
func (d *database) fields() []string {
	for result := range d.reader.Networks() {
		var record map[string]any
		if result.Decode(&record) != nil {
			break
		}
		names := []string{}
		for name := range record {
			names = append(names, name)
		}
		slices.Sort(names)
		return append([]string{"the first one has"}, names...)
	}
	return []string{"it cannot be read"}
}

func (d *database) lookup(a netip.Addr) (int64, bool) { return d.value(d.reader.Lookup(a)) }

// value is the field of a record: a number from 0, a boolean, or a short word.
func (d *database) value(r maxminddb.Result) (int64, bool) {
	if !r.Found() {
		return 0, false
	}
	var v any
	if r.DecodePath(&v, d.field...) != nil {
		return 0, false
	}
	switch v := v.(type) {
	case string:
		return packWord(v)
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case uint64:
		return int64(v), int64(v) >= 0
	case uint32:
		return int64(v), true
	case uint16:
		return int64(v), true
	case int32:
		return int64(v), v >= 0
	case int:
		return int64(v), v >= 0
	}
	return 0, false
}

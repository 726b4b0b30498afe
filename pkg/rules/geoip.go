package rules

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/xlb-io/xlb/pkg/model"
)

// geoRecord is what is read of a database's record. MaxMind's databases, and those
// made after them, have the first two; databases of a country alone, as those of
// ip-location-db, have the third.
type geoRecord struct {
	Country struct {
		ISOCode string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Continent struct {
		Code string `maxminddb:"code"`
	} `maxminddb:"continent"`
	CountryCode string `maxminddb:"country_code"`
}

func (r geoRecord) place() model.Place {
	p := model.Place{Country: r.Country.ISOCode, Continent: r.Continent.Code}
	if p.Country == "" {
		p.Country = strings.ToUpper(r.CountryCode)
	}
	if p.Continent == "" {
		p.Continent = continents[p.Country]
	}
	return p
}

// readPlaces reads all networks of a database that it places somewhere.
func readPlaces(data []byte) (map[model.Place][]netip.Prefix, error) {
	db, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, err
	}
	out := map[model.Place][]netip.Prefix{}
	known := map[uintptr]model.Place{} // many networks share a record
	networks := 0
	for n := range db.Networks() {
		if err := n.Err(); err != nil {
			return nil, fmt.Errorf("read its networks: %w", err)
		}
		networks++
		place, ok := known[n.Offset()]
		if !ok {
			var r geoRecord
			if err := n.Decode(&r); err != nil {
				return nil, fmt.Errorf("read the record of %s: %w", n.Prefix(), err)
			}
			place = r.place()
			known[n.Offset()] = place
		}
		if place != (model.Place{}) {
			out[place] = append(out[place], n.Prefix())
		}
	}
	switch {
	case networks == 0:
		return nil, errors.New("it holds no networks")
	case len(out) == 0:
		return nil, errors.New("no record has country.iso_code, country_code or continent.code (is it a database of countries?)")
	}
	return out, nil
}

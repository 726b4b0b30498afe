package rules

import (
	"slices"

	"github.com/xlb-io/xlb/pkg/model"
)

// Count is how many prefixes a list holds, those of its files included.
func Count(list []model.Origin, files map[string]*model.Networks) (n int) {
	for _, o := range list {
		if o.File == "" {
			n++
		} else if f := files[o.File]; f != nil {
			n += len(f.Prefixes)
		}
	}
	return n
}

// CountSteered is how many prefixes are steered, those of countries included.
func CountSteered(r model.Rules, files map[string]*model.Networks) (n int) {
	for _, s := range r.Steer {
		n += Count(s.From, files)
		if f := files[s.GeoIP]; f != nil {
			for place, list := range f.Places {
				if isIn(s, place) {
					n += len(list)
				}
			}
		}
	}
	return n
}

// isIn says whether a steering by place holds for networks there.
func isIn(s model.Steer, place model.Place) bool {
	return slices.Contains(s.Countries, place.Country) || slices.Contains(s.Continents, place.Continent)
}

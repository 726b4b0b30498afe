package config

import "github.com/xlb-io/xlb/pkg/model"

// rawPlacement is which backends take part, as it is written.
type rawPlacement struct{}

var placementFields = []field[rawCommon]{}

// servicePlacement is which backends take part.
func (w *world) servicePlacement(at place, s *model.Service, raw *rawService) model.Placement {
	return model.Placement{}
}

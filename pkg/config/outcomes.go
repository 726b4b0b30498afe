package config

import "github.com/xlb-io/xlb/pkg/model"

// rawOutcomes is what becomes of connections that backends refuse, as it is written.
type rawOutcomes struct{}

var outcomeFields = []field[rawCommon]{}

// serviceOutcomes is what becomes of connections that backends refuse.
func (w *world) serviceOutcomes(at place, s *model.Service, raw *rawService) model.Outcomes {
	return model.Outcomes{}
}

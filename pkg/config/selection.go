package config

import "github.com/xlb-io/xlb/pkg/model"

// rawSelection is how the backend of a new flow is chosen, as it is written.
type rawSelection struct{}

var selectionFields = []field[rawCommon]{}

// serviceSelection is how the backend of a new flow is chosen.
func (w *world) serviceSelection(at place, s *model.Service, raw *rawService) model.Selection {
	return model.Selection{}
}

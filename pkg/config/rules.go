package config

import "github.com/xlb-io/xlb/pkg/model"

// rawRules is which packets are taken, and which backends they may have, as it is written.
type rawRules struct{}

var ruleFields = []field[rawCommon]{}

// serviceRules is which packets are taken, and which backends they may have.
func (w *world) serviceRules(at place, s *model.Service, raw *rawService) model.Rules {
	return model.Rules{}
}

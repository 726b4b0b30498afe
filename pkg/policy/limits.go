package policy

import "github.com/xlb-io/xlb/pkg/model"

// Limits are what a module may use if the operator does not say: its manifest's, or
// the defaults. Memory is in bytes.
func (b *Bundle) Limits() (fuel uint64, memory int) {
	s := withDefaults(model.Policy{}, &b.Manifest)
	return s.Fuel, s.Memory
}

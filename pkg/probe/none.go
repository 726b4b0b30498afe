package probe

import "github.com/xlb-io/xlb/pkg/model"

// unprobed tells whether p is a probe of type none: the backend is up without
// any traffic to it.
func unprobed(p model.Probe) bool { return p.Type == model.ProbeNone || p.Type == "" }

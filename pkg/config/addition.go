package config

import (
	"fmt"
	"maps"
	"slices"

	"github.com/xlb-io/xlb/pkg/model"
)

// Addition is a service that an operator added beside the file: what would stand
// under its name in `services:`, in YAML.
type Addition struct {
	Name, Text string
	// File names Text in errors.
	File string
}

// Additions are read after the file's own services, in the order given, under the
// same defaults and rules. The file has the last word: an addition that is wrong, or
// does not go with what the file says now, is left out and noted in
// [model.Config.LeftOut]. It is never an error of the file.
func Additions(list []Addition) Option {
	return func(r *reader) { r.additions = list }
}

// add reads the additions. The file is right.
func (w *world) add(cfg *model.Config) {
	for _, a := range w.additions {
		s, errs := w.addition(cfg, a)
		if len(errs) == 0 {
			s.Added = true
			cfg.Services = append(cfg.Services, s)
			continue
		}
		if cfg.LeftOut == nil {
			cfg.LeftOut = map[string]string{}
		}
		cfg.LeftOut[a.Name] = errs.sorted().Error()
	}
}

// addition reads one, and forgets it again if it is wrong.
func (w *world) addition(cfg *model.Config, a Addition) (s model.Service, errs Errors) {
	before := *w
	w.reader = &reader{file: a.File, local: w.local, networks: w.networks, fragment: true, budget: maxNodes}
	// Places are those of the text being read.
	w.frontends = make(map[model.Frontend]place, len(before.frontends))
	for f := range before.frontends {
		w.frontends[f] = place{}
	}
	w.dnat = slices.Clone(before.dnat)
	start := place{line: 1, column: 1}
	switch {
	case !nameKind.valid(a.Name):
		w.fail(start, fmt.Sprintf("%s is not a valid %s", quote(a.Name), nameKind.name), nameKind.limits)
	case slices.ContainsFunc(cfg.Services, func(s model.Service) bool { return s.Name == a.Name }):
		w.fail(start, fmt.Sprintf("there is a service %q already", a.Name), "take another name, or change the file")
	case len(cfg.Services) >= w.settings.MaxServices:
		w.fail(start, fmt.Sprintf("more services than there is room for: %d", w.settings.MaxServices), "raise max_services")
	default:
		if root, ok := w.document([]byte(a.Text)); ok {
			if raw := read(w.reader, root, serviceKind); raw.ok && len(w.errs) == 0 {
				s = w.service(a.Name, start, &raw.v)
				w.checkAddedFrontends(start, &s, before.dnat)
			}
		}
	}
	errs = w.errs
	if len(errs) > 0 {
		*w = before
		return s, errs
	}
	w.reader = before.reader
	return s, nil
}

// checkAddedFrontends checks a service against the dnat backends of those before it.
func (w *world) checkAddedFrontends(at place, s *model.Service, dnat []dnatBackend) {
	for _, f := range s.Frontends {
		if slices.ContainsFunc(dnat, func(b dnatBackend) bool { return b.listens == f }) {
			w.fail(at, fmt.Sprintf("frontend %s is a backend of a dnat service: its replies could not be told from requests", frontendText(f)), "use forward: nat there, or another port")
			return
		}
	}
	w.checkDNATBackends()
}

// AdditionsOf are the services of a mapping from names to texts, in the order of
// the names.
func AdditionsOf(services map[string]string) (list []Addition) {
	for _, name := range slices.Sorted(maps.Keys(services)) {
		list = append(list, Addition{Name: name, Text: services[name], File: "added service " + name})
	}
	return list
}

package control

import (
	"context"
	"fmt"
	gomaps "maps"
	"slices"

	"github.com/xlb-io/xlb/pkg/config"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

// configSource is the text of a configuration, with all that is added to it.
type configSource struct {
	path string
	text []byte
	// options are about the host.
	options []config.Option
	// services are those that the operator added, as YAML by name.
	services map[string]string
	// newest is one of them that is being added, and file where its text is from, for
	// its errors. It is read last, so that it takes nothing from another.
	newest, file string
}

// parse reads the configuration. What the operator added and does not fit is left
// out: nobody should have to look for it while a file is to be loaded.
func (s *configSource) parse() (*model.Config, error) {
	additions := config.AdditionsOf(s.services)
	if i := slices.IndexFunc(additions, func(a config.Addition) bool { return a.Name == s.newest }); i >= 0 {
		newest := additions[i]
		newest.File = s.file
		additions = append(slices.Delete(additions, i, i+1), newest)
	}
	return config.Parse(s.path, s.text, append(s.options[:len(s.options):len(s.options)], config.Additions(additions))...)
}

// load is parse and the loading of the policies. If the file's own are right and
// those of added services are not, these are left out, too.
func (s *configSource) load(ctx context.Context, runtime *policy.Runtime, before policySet, anew map[string]bool) (*model.Config, *policyChange, error) {
	cfg, err := s.parse()
	if err != nil {
		return nil, nil, err
	}
	policies, wrong := loadPolicies(ctx, runtime, cfg, before, anew)
	if wrong == nil {
		return cfg, policies, nil
	}
	wrong = fmt.Errorf("%s: %w", s.path, wrong)
	without := *cfg
	without.Services, without.LeftOut = nil, map[string]string{}
	for name, why := range cfg.LeftOut {
		without.LeftOut[name] = why
	}
	for _, one := range cfg.Services {
		if one.Added && (len(one.Policies) > 0 || one.Probe.Policy != "") {
			without.LeftOut[one.Name] = wrong.Error()
			continue
		}
		without.Services = append(without.Services, one)
	}
	if len(without.Services) == len(cfg.Services) {
		return nil, nil, &PolicyError{wrong}
	}
	policies, err = loadPolicies(ctx, runtime, &without, before, anew)
	if err != nil {
		return nil, nil, &PolicyError{wrong}
	}
	return &without, policies, nil
}

// configSource returns the source of a configuration of this daemon.
func (c *controller) configSource(path string, text []byte, said Operator) *configSource {
	return &configSource{path: path, text: text, options: []config.Option{config.OnHost(c.host.LocalAddresses())}, services: said.Services}
}

// LeftOut says, in words, which services that the operator added a configuration
// leaves out.
func LeftOut(cfg *model.Config) (list []string) {
	for _, name := range slices.Sorted(gomaps.Keys(cfg.LeftOut)) {
		list = append(list, fmt.Sprintf("service %q, which the operator added, is left out: %s", name, cfg.LeftOut[name]))
	}
	return list
}

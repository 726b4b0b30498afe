package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

type (
	rawPolicy struct {
		path, sha256 opt[string]
		config       opt[json.RawMessage]
		tables       opt[[]named[string]]
		subsets      opt[[]named[rawSubset]]
		onError      opt[model.OnError]
		fuel, memory opt[int]
		timeout      opt[time.Duration]
	}
	rawSubset    struct{ tag, zone opt[string] }
	rawPolicyUse struct {
		policy opt[string]
		mode   opt[model.PolicyMode]
	}
)

// policies returns what `policies:` defines, sorted by name, and which names are
// there, rightly defined or not.
func (r *reader) policies(f *rawFile) (list []model.Policy, names []string) {
	for i := range f.policies.v {
		p := &f.policies.v[i]
		names = append(names, p.name)
		if p.v.ok {
			list = append(list, r.policy(p.name, &p.v.v))
		}
	}
	slices.SortFunc(list, func(a, b model.Policy) int { return cmp.Compare(a.Name, b.Name) })
	return list, names
}

func (r *reader) policy(name string, raw *rawPolicy) model.Policy {
	p := model.Policy{
		Name: name, Path: r.fromHere(raw.path.v), SHA256: raw.sha256.v, Config: raw.config.v,
		OnError: raw.onError.orValue(model.ErrorContinue), Fuel: uint64(raw.fuel.v), Memory: raw.memory.v, Timeout: raw.timeout.v,
	}
	for _, t := range raw.tables.v {
		if p.Tables == nil {
			p.Tables = map[string]string{}
		}
		p.Tables[t.name] = r.fromHere(t.v.v)
	}
	for _, s := range raw.subsets.v {
		if p.Subsets == nil {
			p.Subsets = map[string]model.Subset{}
		}
		if s.v.ok && !s.v.v.tag.given && !s.v.v.zone.given {
			r.fail(s.at, fmt.Sprintf("subset %q of policy %q names neither a tag nor a zone", s.name, name), "for example {tag: canary}")
		}
		p.Subsets[s.name] = model.Subset{Tag: s.v.v.tag.v, Zone: s.v.v.zone.v}
	}
	return p
}

// fromHere makes a path that the file gives independent of where the daemon runs.
func (r *reader) fromHere(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(r.file), path)
}

// program is fromHere for what is run: a name that has lost its slash would be
// searched for, and a relative path be taken from where the program is to run.
func (r *reader) program(path string) string {
	path = r.fromHere(path)
	if path == "" {
		return ""
	}
	if absolute, err := filepath.Abs(path); err == nil {
		return absolute
	}
	return path // the working directory is gone: it cannot be run
}

// servicePolicies fills the chain of a service.
func (w *world) servicePolicies(s *model.Service, raw *rawService) {
	chain := raw.common.policies.or(w.defaults.policies)
	if len(chain.v) > 0 {
		s.OnOverload = raw.common.onOverload.or(w.defaults.onOverload).orValue(model.OverloadContinue)
	}
	seen := map[string]place{}
	for _, o := range chain.v {
		use := o.v
		if !o.ok || !use.policy.ok {
			continue
		}
		name := use.policy.v
		if first, double := seen[name]; double {
			w.fail(o.at.apart(first), fmt.Sprintf("policy %q stands twice in the chain", name), "first at "+w.locate(first))
			continue
		}
		seen[name] = o.at
		w.checkPolicyName(o.at, name)
		s.Policies = append(s.Policies, model.PolicyUse{Policy: name, Mode: use.mode.orValue(model.PolicyEnforce)})
	}
	if raw.common.onOverload.given && len(chain.v) == 0 {
		w.fail(raw.common.onOverload.key, "on_overload has no effect without policies", "add policies: or remove on_overload")
	}
	if s.Track == model.TrackNever && len(s.Policies) > 0 {
		at, hint := raw.common.policies.at, "remove track"
		if raw.common.track.given {
			at = raw.common.track.at
		}
		w.fail(at, fmt.Sprintf("service %q has policies, whose decisions are kept in flow records: track: never is impossible", s.Name), hint)
	}
}

// checkPolicyName refuses a name that `policies:` lacks.
func (w *world) checkPolicyName(at place, name string) {
	if slices.Contains(w.policyNames, name) {
		return
	}
	hint := "define it under policies:"
	if near, ok := nearest(name, w.policyNames); ok {
		hint = fmt.Sprintf("did you mean %q?", near)
	} else if len(w.policyNames) > 0 {
		hint = "known: " + strings.Join(w.policyNames, ", ")
	}
	w.fail(at, fmt.Sprintf("unknown policy %q", name), hint)
}

package policytest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

type rawWeigh struct {
	at ast.Node

	Backends []rawBackend `yaml:"backends"`
}

// UnmarshalYAML implements [yaml.NodeUnmarshaler].
func (w *rawWeigh) UnmarshalYAML(n ast.Node) error {
	type plain rawWeigh
	w.at = n
	return yaml.NodeToValue(n, (*plain)(w), yaml.Strict())
}

type rawBackend struct {
	at ast.Node

	Address *text[netip.AddrPort, *netip.AddrPort] `yaml:"address"`
	State   *text[state, *state]                   `yaml:"state"`
	Weight  *uint16                                `yaml:"weight"`
	Tier    uint8                                  `yaml:"tier"`
	Zone    string                                 `yaml:"zone"`
	Tags    []string                               `yaml:"tags"`
	Latency *text[duration, *duration]             `yaml:"latency"`
	Flows   uint64                                 `yaml:"flows"`
	Total   uint64                                 `yaml:"flows_total"`
	Errors  uint64                                 `yaml:"errors_total"`
}

// UnmarshalYAML implements [yaml.NodeUnmarshaler].
func (b *rawBackend) UnmarshalYAML(n ast.Node) error {
	type plain rawBackend
	b.at = n
	return yaml.NodeToValue(n, (*plain)(b), yaml.Strict())
}

// ParseBackends reads backends as they stand in the question weigh. The name is
// used in errors only.
func ParseBackends(name string, data []byte) ([]policy.WeighInput, error) {
	var raw []rawBackend
	if err := decode(name, data, &raw); err != nil {
		return nil, err
	}
	in, err := inputs(raw)
	if err != nil {
		return nil, located(name, err)
	}
	return in, nil
}

func inputs(raw []rawBackend) ([]policy.WeighInput, error) {
	if len(raw) == 0 {
		return nil, errors.New("there are no backends")
	}
	seen := map[netip.AddrPort]bool{}
	var in []policy.WeighInput
	for i := range raw {
		b := raw[i].input()
		if !b.Address.IsValid() {
			return nil, wrong(raw[i].at, "a backend has no address (such as 10.0.0.11:8080)")
		}
		if seen[b.Address] {
			return nil, wrong(raw[i].at, "%s is there twice", b.Address)
		}
		seen[b.Address] = true
		in = append(in, b)
	}
	return in, nil
}

func (b *rawBackend) input() policy.WeighInput {
	in := policy.WeighInput{
		State: policy.StateUp, Weight: 1, Tier: b.Tier, Zone: b.Zone, Tags: model.TagsOf(b.Tags...),
		Flows: b.Flows, FlowsTotal: b.Total, ErrorsTotal: b.Errors,
	}
	if b.Address != nil {
		in.Address = b.Address.v
	}
	if b.State != nil {
		in.State = policy.BackendState(b.State.v)
	}
	if b.Weight != nil {
		in.Weight = *b.Weight
	}
	if b.Latency != nil {
		in.Latency = time.Duration(b.Latency.v)
	}
	return in
}

type weighQuestion struct {
	in     []policy.WeighInput
	repeat int
	// want has a row for each backend that an answer is wanted for, by its place.
	want map[int]weighWant
	// failure that is wanted instead, if not nil.
	failure *string
}

type weighWant struct {
	Address *text[netip.AddrPort, *netip.AddrPort] `yaml:"address"`
	Weight  *int                                   `yaml:"weight"`
	Tier    *int                                   `yaml:"tier"`
	Eject   bool                                   `yaml:"eject"`
	Reason  *uint16                                `yaml:"reason"`
}

func (w *rawWeigh) question(repeat int, want *rawWant) (question, error) {
	if len(w.Backends) == 0 {
		return nil, wrong(w.at, "weigh has no backends")
	}
	in, err := inputs(w.Backends)
	q := &weighQuestion{in: in, repeat: repeat, want: map[int]weighWant{}}
	if err != nil || want == nil {
		return q, err
	}
	if _, isList := want.node.(*ast.SequenceNode); !isList {
		var only struct {
			Error *string `yaml:"error"`
		}
		if err := want.into(&only); err != nil {
			return nil, err
		}
		if q.failure = only.Error; q.failure == nil {
			return nil, wrong(want.node, "want of weigh is a list of backends, or an error")
		}
		return q, nil
	}
	var rows []weighWant
	if err := want.into(&rows); err != nil {
		return nil, err
	}
	return q, q.place(rows, want.node)
}

// place finds the backend that each row of the wanted answer is about.
func (q *weighQuestion) place(rows []weighWant, at ast.Node) error {
	if len(rows) == 0 {
		return wrong(at, "want of weigh is empty")
	}
	for i, row := range rows {
		if row.Address != nil {
			i = slices.IndexFunc(q.in, func(b policy.WeighInput) bool { return b.Address == row.Address.v })
			if i < 0 {
				return wrong(at, "want names %s, which is no backend of the question", row.Address.v)
			}
		}
		if i >= len(q.in) {
			return wrong(at, "want has more rows than the question has backends")
		}
		if _, double := q.want[i]; double {
			return wrong(at, "want names %s twice", q.in[i].Address)
		}
		q.want[i] = row
	}
	return nil
}

func (q *weighQuestion) ask(ctx context.Context, s *subject) (differences []string) {
	var (
		got []policy.WeighOutput
		err error
	)
	for range q.repeat {
		if got, err = s.policy.Weigh(ctx, q.in); ctx.Err() != nil {
			return []string{ctx.Err().Error()}
		}
	}
	differences, ok := failure(err, q.failure)
	if !ok {
		return differences
	}
	for i, in := range q.in {
		want, wanted := q.want[i]
		if !wanted {
			continue
		}
		what := func(field string) string { return fmt.Sprintf("%s of %s", field, in.Address) }
		out := InForce(in, got[i])
		compare(&differences, what("weight"), out.Weight, want.Weight)
		compare(&differences, what("tier"), out.Tier, want.Tier)
		compare(&differences, what("eject"), out.Eject, &want.Eject)
		if want.Reason != nil && out.Reason != *want.Reason {
			b := s.policy.Bundle()
			differences = append(differences, fmt.Sprintf("%s is %s, want %s", what("reason"), Reason(b, out.Reason), Reason(b, *want.Reason)))
		}
	}
	return differences
}

// InForce puts the backend's own weight and tier in the place of those that the
// policy leaves.
func InForce(in policy.WeighInput, out policy.WeighOutput) policy.WeighOutput {
	if out.Weight == policy.Leave {
		out.Weight = int(in.Weight)
	}
	if out.Tier == policy.Leave {
		out.Tier = int(in.Tier)
	}
	return out
}

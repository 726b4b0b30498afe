package policytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

type rawFlow struct {
	at ast.Node

	Source   *text[netip.AddrPort, *netip.AddrPort] `yaml:"source"`
	VIP      *text[netip.AddrPort, *netip.AddrPort] `yaml:"vip"`
	Protocol *text[model.Protocol, *model.Protocol] `yaml:"protocol"`
	Flags    *text[TCPFlags, *TCPFlags]             `yaml:"flags"`
	Hash     uint64                                 `yaml:"hash"`
	Backends *uint32                                `yaml:"backends"`
}

// UnmarshalYAML implements [yaml.NodeUnmarshaler].
func (f *rawFlow) UnmarshalYAML(n ast.Node) error {
	type plain rawFlow
	f.at = n
	return yaml.NodeToValue(n, (*plain)(f), yaml.Strict())
}

type flowWant struct {
	Action   *text[policy.Action, *policy.Action] `yaml:"action"`
	Reason   *uint16                              `yaml:"reason"`
	Backend  *uint32                              `yaml:"backend"`
	Subset   *string                              `yaml:"subset"`
	Hash     *uint32                              `yaml:"hash"`
	Counters map[string]uint64                    `yaml:"counters"`
	Error    *string                              `yaml:"error"`
}

type flowQuestion struct {
	in     policy.FlowInput
	repeat int
	want   flowWant
}

func (f *rawFlow) question(repeat int, want *rawWant) (question, error) {
	q := &flowQuestion{repeat: repeat, in: policy.FlowInput{Protocol: model.TCP, Hash: f.Hash, Backends: 1}}
	if f.Backends != nil {
		q.in.Backends = int(*f.Backends)
	}
	if f.Protocol != nil {
		q.in.Protocol = f.Protocol.v
	}
	if f.Source != nil {
		q.in.Source = f.Source.v
	}
	if f.VIP != nil {
		q.in.Destination = f.VIP.v
	}
	switch {
	case f.Flags != nil:
		q.in.TCPFlags = uint8(f.Flags.v)
	case q.in.Protocol == model.TCP:
		q.in.TCPFlags = SYN
	}
	if err := CheckFlow(q.in); err != nil {
		return nil, wrong(f.at, "%v", err)
	}
	if err := want.into(&q.want); err != nil {
		return nil, err
	}
	if want != nil && q.want.Action == nil && q.want.Error == nil {
		return nil, wrong(want.node, "want of a flow names an action or an error")
	}
	return q, nil
}

// CheckFlow finds what no flow can be.
func CheckFlow(f policy.FlowInput) error {
	switch {
	case !f.Source.IsValid():
		return errors.New("the flow has no source (an address with a port, such as 192.0.2.7:4242)")
	case !f.Destination.IsValid():
		return errors.New("the flow has no vip (an address with a port, such as 203.0.113.10:80)")
	case f.Source.Addr().Is4() != f.Destination.Addr().Is4():
		return fmt.Errorf("source %s and vip %s are not of one family", f.Source.Addr(), f.Destination.Addr())
	case f.Protocol == model.UDP && f.TCPFlags != 0:
		return errors.New("flags do not go with udp")
	}
	return nil
}

func (q *flowQuestion) ask(ctx context.Context, s *subject) (differences []string) {
	if s.worker == nil {
		var err error
		if s.worker, err = s.policy.NewWorker(ctx); err != nil {
			return []string{err.Error()}
		}
	}
	var (
		got policy.Verdict
		err error
	)
	for range q.repeat {
		if ctx.Err() != nil {
			return []string{ctx.Err().Error()}
		}
		in := q.in
		got, err = s.worker.Flow(&in)
	}
	differences, ok := failure(err, q.want.Error)
	if ok {
		differences = q.want.compare(s.policy.Bundle(), got)
	}
	if len(q.want.Counters) == 0 {
		return differences
	}
	counters := s.policy.Stats().Counters
	for _, name := range slices.Sorted(maps.Keys(q.want.Counters)) {
		n, known := counters[name]
		if want := q.want.Counters[name]; known {
			compare(&differences, "counter "+name, n, &want)
		} else {
			differences = append(differences, fmt.Sprintf("there is no counter %q", name))
		}
	}
	return differences
}

// compare finds in which ways a verdict is not the wanted one.
func (w *flowWant) compare(b *policy.Bundle, got policy.Verdict) (differences []string) {
	if w.Action != nil {
		compare(&differences, "action", got.Action, &w.Action.v)
	}
	if w.Reason != nil && got.Reason != *w.Reason {
		differences = append(differences, fmt.Sprintf("reason is %s, want %s", Reason(b, got.Reason), Reason(b, *w.Reason)))
	}
	is := func(what string, a policy.Action) bool {
		if got.Action != a {
			differences = append(differences, fmt.Sprintf("there is no %s", what))
		}
		return got.Action == a
	}
	if w.Backend != nil && is("backend", policy.ActionBackend) {
		compare(&differences, "backend", got.Operand, w.Backend)
	}
	if w.Hash != nil && is("hash", policy.ActionHash) {
		compare(&differences, "hash", got.Operand, w.Hash)
	}
	if w.Subset != nil && is("subset", policy.ActionSubset) {
		compare(&differences, "subset", Subset(b, got.Operand), w.Subset)
	}
	return differences
}

// Reason is a reason with the manifest's text for it.
func Reason(b *policy.Bundle, n uint16) string {
	if text := b.Manifest.Reasons[n]; text != "" {
		return fmt.Sprintf("%d (%s)", n, text)
	}
	return fmt.Sprint(n)
}

// Subset is the manifest's name for a subset.
func Subset(b *policy.Bundle, n uint32) string {
	if int(n) < len(b.Manifest.Subsets) {
		return b.Manifest.Subsets[n]
	}
	return fmt.Sprintf("subset %d", n)
}

// Flows are those that vectors ask about and that do not fail.
func Flows(vectors []Vector) (flows []policy.FlowInput) {
	for _, v := range vectors {
		if q, ok := v.ask.(*flowQuestion); ok && q.want.Error == nil {
			flows = append(flows, q.in)
		}
	}
	return flows
}

// Config is the configuration of the first vector that asks more than whether one is
// valid; nil if it has none.
func Config(vectors []Vector) json.RawMessage {
	for _, v := range vectors {
		if _, only := v.ask.(*validate); !only {
			return v.config
		}
	}
	return nil
}

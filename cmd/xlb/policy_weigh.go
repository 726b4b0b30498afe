package main

import (
	"context"
	"io"
	"net/netip"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/policy"
	"github.com/xlb-io/xlb/pkg/policy/policytest"
)

// backendAnswer is what a policy says of a backend, and what was before.
type backendAnswer struct {
	Address   netip.AddrPort `json:"address"`
	OldWeight int            `json:"old_weight"`
	Weight    int            `json:"weight"`
	OldTier   int            `json:"old_tier"`
	Tier      int            `json:"tier"`
	Eject     bool           `json:"eject"`
	Reason    uint16         `json:"reason"`
	Text      string         `json:"text,omitempty"`
}

func (e *env) askWeigh(c *cli.Context) (policyAction, error) {
	in, err := e.readBackends(c)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, p *policy.Policy) error {
		out, err := p.Weigh(ctx, in)
		if err != nil {
			return err
		}
		answers := make([]backendAnswer, len(in))
		for i, b := range in {
			o := policytest.InForce(b, out[i])
			answers[i] = backendAnswer{
				b.Address, int(b.Weight), o.Weight, int(b.Tier), o.Tier, o.Eject, o.Reason, p.Bundle().Manifest.Reasons[o.Reason],
			}
		}
		if c.Bool("json") {
			return e.printJSON(answers)
		}
		e.printWeights(answers)
		return nil
	}, nil
}

func (e *env) readBackends(c *cli.Context) ([]policy.WeighInput, error) {
	path := c.Path("backends-file")
	if path == "" {
		return nil, usagef("--backends-file is missing: the backends to weigh, a list as in test vectors, or - for standard input")
	}
	var (
		data []byte
		err  error
	)
	if path == "-" {
		data, err = io.ReadAll(e.input(c.Context))
		path = "stdin"
	} else {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, usagef("cannot read the backends: %v", err)
	}
	in, err := policytest.ParseBackends(path, data)
	if err != nil {
		return nil, &configError{err.Error()}
	}
	return in, nil
}

func (e *env) printWeights(answers []backendAnswer) {
	t := &table{columns: []column{
		{name: "BACKEND"}, {name: "WEIGHT", align: right}, {name: "WAS", align: right}, {name: "TIER", align: right}, {name: "WAS", align: right},
		{name: "STATE"}, {name: "REASON", align: right}, {name: "WHY", shrinks: true},
	}}
	for _, a := range answers {
		state := ""
		if a.Eject {
			state = "ejected"
		}
		t.add(a.Address, a.Weight, a.OldWeight, a.Tier, a.OldTier, state, a.Reason, a.Text)
	}
	e.printTable(t, "")
}

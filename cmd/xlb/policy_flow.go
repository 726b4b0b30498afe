package main

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
	"github.com/xlb-io/xlb/pkg/policy/policytest"
)

// flowAnswer is a verdict in words.
type flowAnswer struct {
	Hook   policy.Hook `json:"hook"`
	Action string      `json:"action"`
	Reason uint16      `json:"reason"`
	Text   string      `json:"text,omitempty"`
	// Backend, Subset and Hash are the operand of the action of that name.
	Backend *uint32 `json:"backend,omitempty"`
	Subset  string  `json:"subset,omitempty"`
	Hash    *uint32 `json:"hash,omitempty"`
	Fuel    uint64  `json:"fuel"`
}

func (e *env) askFlow(c *cli.Context) (policyAction, error) {
	in, err := flowOptions(c)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, p *policy.Policy) error {
		w, err := p.NewWorker(ctx)
		if err != nil {
			return err
		}
		defer w.Close(context.WithoutCancel(ctx))
		v, err := w.Flow(&in)
		if err != nil {
			return err
		}
		a := answerOf(p.Bundle(), v)
		a.Fuel = w.Fuel()
		if c.Bool("json") {
			return e.printJSON(a)
		}
		e.printf("%s\nfuel: %d of %d\n", a, a.Fuel, p.Spec().Fuel)
		return nil
	}, nil
}

func answerOf(b *policy.Bundle, v policy.Verdict) flowAnswer {
	a := flowAnswer{Hook: policy.HookFlow, Action: v.Action.String(), Reason: v.Reason, Text: b.Manifest.Reasons[v.Reason]}
	switch v.Action {
	case policy.ActionBackend:
		a.Backend = &v.Operand
	case policy.ActionHash:
		a.Hash = &v.Operand
	case policy.ActionSubset:
		a.Subset = policytest.Subset(b, v.Operand)
	}
	return a
}

func (a flowAnswer) String() string {
	text := a.Action
	switch {
	case a.Backend != nil:
		text += fmt.Sprintf(" %d", *a.Backend)
	case a.Hash != nil:
		text += fmt.Sprintf(" %#08x", *a.Hash)
	case a.Subset != "":
		text += " " + a.Subset
	}
	if a.Reason != 0 {
		text += fmt.Sprintf(", reason %d", a.Reason)
	}
	if a.Text != "" {
		text += ": " + printable(a.Text)
	}
	return text
}

func flowOptions(c *cli.Context) (in policy.FlowInput, err error) {
	if in.Source, err = endpointOption(c, "source", "192.0.2.7:4242"); err != nil {
		return in, err
	}
	if in.Destination, err = endpointOption(c, "vip", "203.0.113.10:80"); err != nil {
		return in, err
	}
	// The flag admits only words that the model knows.
	if err := in.Protocol.UnmarshalText([]byte(c.Generic("protocol").(*choice).value)); err != nil {
		panic(err)
	}
	var flags policytest.TCPFlags
	if text := c.String("flags"); text != "" {
		if err := flags.UnmarshalText([]byte(text)); err != nil {
			return in, usagef("--flags: %v", err)
		}
	} else if in.Protocol == model.TCP {
		flags = policytest.SYN
	}
	in.TCPFlags, in.Hash, in.Backends = uint8(flags), c.Uint64("hash"), int(c.Uint("backends"))
	if err := policytest.CheckFlow(in); err != nil {
		return in, usagef("%v", err)
	}
	return in, nil
}

func endpointOption(c *cli.Context, name, example string) (netip.AddrPort, error) {
	text := c.String(name)
	if text == "" {
		return netip.AddrPort{}, usagef("%s is missing (for example %s %s)", dashes(name), dashes(name), example)
	}
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		return a, usagef("%s %q is not an address with a port (for example %s or [2001:db8::7]:4242)", dashes(name), text, example)
	}
	return a, nil
}

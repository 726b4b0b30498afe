package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

func (e *env) policyRun() *cli.Command {
	return &cli.Command{
		Name:  "run",
		Usage: "ask a policy one question",
		Description: "Asks about the flow that the options describe and prints the verdict. With --hook weigh it asks\n" +
			"about the backends in a file, which are written as in test vectors; with --hook probe it\n" +
			"connects to the address and has the policy probe it. What the policy logs goes to standard error.",
		UsageText: "xlb policy run deny-list --source 192.0.2.7:4242 --vip 203.0.113.10:80 --table deny=deny.txt\n" +
			"xlb policy run canary --source 192.0.2.7:4242 --vip 203.0.113.10:80 --config '{\"percent\":5}'\n" +
			"xlb policy run least-latency --hook weigh --backends-file backends.yaml\n" +
			"xlb policy run redis-probe --hook probe --address 10.0.0.11:6379 --json",
		ArgsUsage: "[PATH]",
		Flags: []cli.Flag{
			policyHookFlag("the question"),
			&cli.StringFlag{Name: "source", Usage: "the client, `ADDRESS:PORT`"},
			&cli.StringFlag{Name: "vip", Usage: "where the client connects to, `ADDRESS:PORT`"},
			&cli.GenericFlag{
				Name: "protocol", Usage: "transport protocol: `tcp|udp`",
				Value: &choice{value: model.TCP.String(), words: []string{model.TCP.String(), model.UDP.String()}},
			},
			&cli.StringFlag{Name: "flags", Usage: "TCP `FLAGS` of the packet, with commas between (default: syn)"},
			&cli.Uint64Flag{Name: "hash", Usage: "hash of the flow, a `NUMBER` of 64 bits"},
			&cli.UintFlag{Name: "backends", Usage: "`N` backends take new flows", Value: 1},
			&cli.PathFlag{Name: "backends-file", Usage: "for weigh: `FILE` with a list of backends"},
			&cli.StringFlag{Name: "address", Usage: "for probe: `ADDRESS:PORT` of the backend"},
			policyConfigFlag(),
			policyTableFlag(),
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			b, err := openBundle(policyPath(c))
			if err != nil {
				return err
			}
			ask, err := e.policyQuestion(c, b)
			if err != nil {
				return err
			}
			spec, err := policySpec(c, b)
			if err != nil {
				return err
			}
			return e.withPolicy(c.Context, b, spec, ask)
		},
	}
}

func policyHookFlag(usage string) cli.Flag {
	return &cli.GenericFlag{
		Name: "hook", Usage: usage + ": `flow|weigh|probe`",
		Value: &choice{words: []string{string(policy.HookFlow), string(policy.HookWeigh), string(policy.HookProbe)}},
	}
}

// policyAction is what a command does with a policy.
type policyAction func(context.Context, *policy.Policy) error

// policyQuestion is what the command line asks: by default the module's first hook.
func (e *env) policyQuestion(c *cli.Context, b *policy.Bundle) (policyAction, error) {
	hook := policy.Hook(c.Generic("hook").(*choice).value)
	if hook == "" && len(b.Hooks) > 0 {
		hook = b.Hooks[0]
	}
	if !b.Has(hook) {
		return nil, usagef("%s does not answer %s (it has: %s)", b.Manifest.Name, hook, listed(b.Hooks))
	}
	for name, of := range map[string]policy.Hook{
		"source": policy.HookFlow, "vip": policy.HookFlow, "protocol": policy.HookFlow, "flags": policy.HookFlow, "hash": policy.HookFlow,
		"backends": policy.HookFlow, "backends-file": policy.HookWeigh, "address": policy.HookProbe,
	} {
		if c.IsSet(name) && of != hook {
			return nil, usagef("%s goes with --hook %s, this is %s", dashes(name), of, hook)
		}
	}
	switch hook {
	case policy.HookWeigh:
		return e.askWeigh(c)
	case policy.HookProbe:
		return e.askProbe(c)
	}
	return e.askFlow(c)
}

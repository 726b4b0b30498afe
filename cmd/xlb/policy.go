package main

import "github.com/urfave/cli/v2"

func (e *env) policyCommand() *cli.Command {
	return &cli.Command{
		Name:    "policy",
		Aliases: []string{"policies"},
		Usage:   "write, test and measure Wasm policies",
		Description: "A policy is a WebAssembly module that decides about new flows, weighs backends or probes them.\n" +
			"A bundle is a directory with its manifest policy.yaml, the module, the source and test vectors.\n" +
			"None of this needs root or a daemon.",
		UsageText: "xlb policy new --lang go deny-list\nxlb policy build deny-list\nxlb policy test deny-list\n" +
			"xlb policy run deny-list --source 192.0.2.7:4242 --vip 203.0.113.10:80",
		Subcommands: []*cli.Command{
			e.policyNew(), e.policyBuild(), e.policyInspect(), e.policyTest(), e.policyBench(), e.policyRun(),
		},
	}
}

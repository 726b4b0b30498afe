package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/internal/policybuild"
)

func (e *env) policyBuild() *cli.Command {
	return &cli.Command{
		Name:  "build",
		Usage: "compile a policy",
		Description: "Compiles the bundle in DIR, by default the present directory: by the command in the manifest\n" +
			"(build: [PROGRAM, ARGUMENT, ...]), else by the usual one of its language. Checks the module and\n" +
			"writes its hash into the manifest; the rest of the manifest stays as it is.",
		UsageText: "xlb policy build\nxlb policy build deny-list",
		ArgsUsage: "[DIR]",
		Flags:     []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			r, err := policybuild.Build(c.Context, policyPath(c), e.stderr)
			if err != nil {
				return bundleError(err)
			}
			if c.Bool("json") {
				return e.printJSON(r)
			}
			e.printf("built %s: %s, answers %s, sha256 %s\n", r.Module, humanBytes(uint64(r.Bytes)), strings.Join(r.Hooks, ", "), r.SHA256)
			return nil
		},
	}
}

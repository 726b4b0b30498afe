package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/policy"
	"github.com/xlb-io/xlb/pkg/policy/policybench"
	"github.com/xlb-io/xlb/pkg/policy/policytest"
)

func (e *env) policyBench() *cli.Command {
	return &cli.Command{
		Name:  "bench",
		Usage: "measure what a policy costs on this machine",
		Description: "Nanoseconds that a call of flow takes, with fuel as in the daemon and without; time to load the\n" +
			"module and to make one more instance (each worker has one), and its memory. It is asked about\n" +
			"the flows of the bundle's test vectors, with the configuration of the first unless one is given;\n" +
			"without any, about made-up ones. Takes some seconds.",
		UsageText: "xlb policy bench deny-list --table deny=deny.txt\nxlb policy bench canary --config @canary.json --json | jq .flow.with_fuel",
		ArgsUsage: "[PATH]",
		Flags:     []cli.Flag{policyConfigFlag(), policyTableFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			b, err := openBundle(policyPath(c))
			if err != nil {
				return err
			}
			spec, err := policySpec(c, b)
			if err != nil {
				return err
			}
			flows, config, err := vectorFlows(b)
			if err != nil {
				return err
			}
			if spec.Config == nil {
				spec.Config = config
			}
			r, err := policybench.Run(c.Context, b, spec, flows)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return e.printJSON(r)
			}
			e.printPolicyBench(r)
			return nil
		},
	}
}

// vectorFlows are those of the bundle's test vectors, with the configuration of the
// first.
func vectorFlows(b *policy.Bundle) ([]policy.FlowInput, json.RawMessage, error) {
	if b.Manifest.Tests == "" {
		return nil, nil, nil
	}
	vectors, err := loadVectors(b)
	if err != nil {
		return nil, nil, err
	}
	return policytest.Flows(vectors), policytest.Config(vectors), nil
}

// loadVectors reads a bundle's test vectors. A mistake counts as wrong configuration.
func loadVectors(b *policy.Bundle) ([]policytest.Vector, error) {
	vectors, err := policytest.Load(bundleFile(b, b.Manifest.Tests))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usagef("%v", err)
	case errors.As(err, new(*policytest.Error)):
		return nil, &configError{err.Error()}
	}
	return vectors, err
}

func (e *env) printPolicyBench(r *policybench.Report) {
	round := func(d time.Duration) time.Duration { return d.Round(d / 1000) }
	if f := r.Flow; f != nil {
		e.printf("flow      %.1f ns a call (%.1f to %.1f), without fuel %.1f ns (%.1f to %.1f)\n", f.WithFuel.MedianNS, f.WithFuel.MinNS, f.WithFuel.MaxNS,
			f.WithoutFuel.MedianNS, f.WithoutFuel.MinNS, f.WithoutFuel.MaxNS)
		of := "made up"
		if f.Given {
			of = "of the test vectors"
		}
		e.printf("flows     %d, %s\n", f.Flows, of)
		e.printf("fuel      %d of %d at most\n", f.FuelMost, f.Fuel)
		e.printf("instance  %v\n", round(f.Instance))
	}
	e.printf("memory    %s an instance\n", humanBytes(r.Memory))
	e.printf("load      %v, compiled before %v\n", round(r.Load), round(r.LoadCached))
}

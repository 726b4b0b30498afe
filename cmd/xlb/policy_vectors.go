package main

import (
	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/policy/policytest"
)

func (e *env) policyTest() *cli.Command {
	return &cli.Command{
		Name:  "test",
		Usage: "ask policies the questions of their test vectors",
		Description: "The manifest names the file of vectors (tests: vectors.yaml): questions with the answers that\n" +
			"are wanted. Each is asked of an instance of its own. Exit status 1 if an answer is not the\n" +
			"wanted one, 2 if the file is wrong.",
		UsageText: "xlb policy test\nxlb policy test policies/canary policies/geo-fence --json",
		ArgsUsage: "[PATH...]",
		Flags:     []cli.Flag{jsonFlag()},
		Action:    e.testPolicies,
	}
}

// bundleTest is what became of a bundle's vectors.
type bundleTest struct {
	Path    string               `json:"path"`
	Name    string               `json:"name"`
	File    string               `json:"file"`
	Passed  int                  `json:"passed"`
	Failed  int                  `json:"failed"`
	Vectors []policytest.Outcome `json:"vectors"`
}

func (e *env) testPolicies(c *cli.Context) error {
	results, failed := []bundleTest{}, 0
	paths := c.Args().Slice()
	if len(paths) == 0 {
		paths = []string{policyPath(c)}
	}
	for _, path := range paths {
		r, err := e.testBundle(c, path)
		if err != nil {
			return err
		}
		if !c.Bool("json") {
			e.printBundleTest(r)
		}
		failed += r.Failed
		results = append(results, r)
	}
	if c.Bool("json") {
		if err := e.printJSON(results); err != nil {
			return err
		}
	}
	if failed > 0 {
		return errSilent
	}
	return nil
}

func (e *env) testBundle(c *cli.Context, path string) (r bundleTest, err error) {
	b, err := openBundle(path)
	if err != nil {
		return r, err
	}
	if b.Manifest.Tests == "" {
		return r, failf("%s has no test vectors (name their file in the manifest: \"tests: vectors.yaml\")", path)
	}
	r = bundleTest{Path: path, Name: b.Manifest.Name, File: bundleFile(b, b.Manifest.Tests)}
	vectors, err := loadVectors(b)
	if err != nil {
		return r, err
	}
	r.Vectors, err = policytest.Run(c.Context, b, vectors)
	for _, v := range r.Vectors {
		if v.Passed {
			r.Passed++
		} else {
			r.Failed++
		}
	}
	return r, err
}

func (e *env) printBundleTest(r bundleTest) {
	for _, v := range r.Vectors {
		if v.Passed {
			e.printf("%s    %s\n", e.paint("ok", green), printable(v.Name))
			continue
		}
		e.printf("%s  %s:%d: %s\n", e.paint("FAIL", red), r.File, v.Line, printable(v.Name))
		for _, d := range v.Differences {
			e.printf("      %s\n", printable(d))
		}
		for _, l := range v.Log {
			e.printf("      log: %s\n", printable(l))
		}
	}
	e.printf("%s: %s, %d failed\n", r.Name, plural(len(r.Vectors), "vector"), r.Failed)
}

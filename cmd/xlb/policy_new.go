package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/internal/policybuild"
	"github.com/xlb-io/xlb/pkg/policy"
)

func (e *env) policyNew() *cli.Command {
	return &cli.Command{
		Name:  "new",
		Usage: "begin a policy from a template",
		Description: "Writes a bundle into DIR (the name, if none is given) that can be built and passes its test\n" +
			"vectors: the source with what it needs of the SDK, the manifest, the vectors.",
		UsageText: "xlb policy new --lang go deny-list\nxlb policy new --lang rust --hook weigh least-latency policies/least-latency",
		ArgsUsage: "NAME [DIR]",
		Flags: []cli.Flag{
			&cli.GenericFlag{
				Name: "lang", Usage: "language of the source: `" + strings.Join(policybuild.Languages(), "|") + "`",
				Value: &choice{words: policybuild.Languages()},
			},
			policyHookFlag("what it is asked (default: flow)"),
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			o := policybuild.Template{
				Name: c.Args().First(), Language: c.Generic("lang").(*choice).value, Hook: policy.Hook(c.Generic("hook").(*choice).value),
			}
			if o.Language == "" {
				return usagef("--lang is missing (%s)", strings.Join(policybuild.Languages(), "|"))
			}
			if o.Hook == "" {
				o.Hook = policy.HookFlow
			}
			dir := c.Args().Get(1)
			if dir == "" {
				dir = o.Name
			}
			files, err := o.Write(dir)
			switch {
			case errors.Is(err, policybuild.ErrName), errors.Is(err, fs.ErrExist):
				return usagef("%v", err)
			case err != nil:
				return err
			}
			if c.Bool("json") {
				return e.printJSON(struct {
					Dir   string   `json:"dir"`
					Files []string `json:"files"`
				}{dir, files})
			}
			for _, f := range files {
				e.printf("wrote %s\n", filepath.Join(dir, f))
			}
			e.printf("next: xlb policy build %s && xlb policy test %s\n", dir, dir)
			return nil
		},
	}
}

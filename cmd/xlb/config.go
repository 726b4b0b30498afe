package main

import (
	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/config"
)

func (e *env) configCommand() *cli.Command {
	return &cli.Command{
		Name:        "config",
		Usage:       "describe the configuration file",
		Description: "What can stand in the configuration file, for editors and for people.",
		UsageText:   "xlb config schema > xlb.schema.json\nxlb config reference | less",
		Subcommands: []*cli.Command{
			{
				Name:  "schema",
				Usage: "print the JSON Schema, for editors",
				Description: "Editors that know JSON Schema complete and check the file while it is written. With the\n" +
					"YAML language server, start the file with: # yaml-language-server: $schema=xlb.schema.json",
				UsageText: "xlb config schema > xlb.schema.json",
				Action: func(*cli.Context) error {
					schema, err := config.Schema()
					if err != nil {
						return err
					}
					e.printf("%s", schema)
					return nil
				},
			},
			{
				Name:        "reference",
				Usage:       "print the reference of all keys, in Markdown",
				Description: "Every key with its type, range, default, meaning and an example.",
				UsageText:   "xlb config reference | less",
				Action: func(*cli.Context) error {
					e.printf("%s", config.Reference())
					return nil
				},
			},
		},
	}
}

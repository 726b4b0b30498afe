package main

import "github.com/urfave/cli/v2"

// commands lists the commands in the order of the help. A command is made by a
// method in a file of its own. Its UsageText holds examples, a line each; its
// ArgsUsage ("SERVICE [WEIGHT]") is what the arguments are checked against
// before the Action is called.
func (e *env) commands() []*cli.Command {
	var all []*cli.Command
	for _, group := range []struct {
		category string
		commands []*cli.Command
	}{
		{"Daemon", []*cli.Command{
			e.runCommand(), e.checkCommand(), e.planCommand(), e.reloadCommand(), e.detachCommand(),
		}},
		{"State", []*cli.Command{
			e.statusCommand(), e.serviceCommand(), e.backendCommand(), e.zoneCommand(), e.overridesCommand(), e.flowsCommand(), e.statsCommand(), e.mapCommand(),
		}},
		{"Tools", []*cli.Command{
			e.demoCommand(), e.policyCommand(), e.importCommand(), e.benchCommand(), e.backendHostCommand(), e.configCommand(), e.versionCommand(), e.completionCommand(),
		}},
	} {
		for _, c := range group.commands {
			c.Category = group.category
			all = append(all, c)
		}
	}
	return all
}

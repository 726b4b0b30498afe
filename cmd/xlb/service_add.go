package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
)

func (e *env) serviceAdd() *cli.Command {
	return &cli.Command{
		Name:  "add",
		Usage: "add a service",
		Description: "The service stands beside those of the configuration file, under the same defaults and rules,\n" +
			"until \"xlb service rm\". A file (- is standard input) holds what would stand under its name in\n" +
			"\"services:\"; --set gives any other key, its value in YAML.",
		UsageText: "xlb service add --frontend tcp://203.0.113.10:80 --backend 10.0.0.11:8080 web\n" +
			"xlb service add --frontend udp://203.0.113.53:53 --backend 10.0.0.53 --set probe=none dns\n" +
			"xlb service add -f web.yaml web",
		ArgsUsage: "NAME",
		Flags: []cli.Flag{
			&cli.PathFlag{Name: "file", Aliases: []string{"f"}, Usage: "read the service from a `FILE`"},
			textsFlag("frontend", "where it is reached, repeatable: `tcp://VIP:PORT`"),
			textsFlag("backend", "`ADDRESS` of a server, repeatable; {address: …, weight: …} tells more"),
			&cli.StringFlag{Name: "forward", Usage: "`MODE`: nat, dnat, l2dsr, ipip or gue"},
			textsFlag("set", "another key of a service, repeatable: `KEY=VALUE`"),
			socketFlag(), jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			r, err := e.newService(c)
			if err != nil {
				return err
			}
			return withDaemon(c, func(ctx context.Context, client *api.Client) error {
				name := c.Args().First()
				if err := client.AddService(ctx, name, r); err != nil {
					return wrongConfig(err)
				}
				if !c.Bool("json") {
					e.printf("%s: added\n", name)
					return nil
				}
				detail, err := client.Service(ctx, name)
				if err != nil {
					return err
				}
				return e.printJSON(detail)
			})
		},
	}
}

// newService is what the flags or the file say.
func (e *env) newService(c *cli.Context) (r api.ServiceRequest, err error) {
	path := c.Path("file")
	if path == "" {
		r.Text, err = serviceText(texts(c, "frontend"), texts(c, "backend"), c.String("forward"), texts(c, "set"))
		return r, err
	}
	for _, name := range []string{"frontend", "backend", "forward", "set"} {
		if c.IsSet(name) {
			return r, usagef("--%s and --file exclude each other (write it into the file)", name)
		}
	}
	var text []byte
	r.Path = path
	if path == "-" {
		r.Path = "stdin"
		text, err = io.ReadAll(e.input(c.Context))
	} else {
		text, err = os.ReadFile(path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r, usagef("there is no file %s", path)
	case err != nil:
		return r, fmt.Errorf("read the service: %w", err)
	}
	r.Text = string(text)
	return r, nil
}

// serviceText writes a service as a configuration would.
func serviceText(frontends, backends []string, forward string, set []string) (string, error) {
	var b strings.Builder
	list := func(key string, values []string) {
		fmt.Fprintf(&b, "%s:\n", key)
		for _, v := range values {
			if !strings.HasPrefix(v, "{") {
				v = strconv.Quote(v)
			}
			fmt.Fprintf(&b, "  - %s\n", v)
		}
	}
	if len(frontends) == 0 {
		return "", usagef("a service needs a --frontend (for example --frontend tcp://203.0.113.10:80) or a --file")
	}
	list("frontends", frontends)
	discovers := false
	if forward != "" {
		fmt.Fprintf(&b, "forward: %s\n", forward)
	}
	for _, s := range set {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" || strings.ContainsAny(s, "\n\r") {
			return "", usagef("--set %q is not KEY=VALUE (for example --set fail=closed)", s)
		}
		discovers = discovers || key == "discover"
		fmt.Fprintf(&b, "%s: %s\n", key, value)
	}
	switch {
	case len(backends) > 0:
		list("backends", backends)
	case !discovers:
		b.WriteString("backends: []\n")
	}
	return b.String(), nil
}

func (e *env) serviceRemove() *cli.Command {
	return &cli.Command{
		Name:    "rm",
		Aliases: []string{"remove"},
		Usage:   "remove a service that was added",
		Description: "Its frontends are free at once; flows that it has go on until they end. What was said of its\n" +
			"backends is forgotten. A service of the configuration file is removed there.",
		UsageText: "xlb service rm web",
		ArgsUsage: "SERVICE",
		Flags:     []cli.Flag{socketFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			return withDaemon(c, func(ctx context.Context, client *api.Client) error {
				name := c.Args().First()
				if err := client.RemoveService(ctx, name); err != nil {
					return unknownService(ctx, client, name, err)
				}
				if !c.Bool("json") {
					e.printf("%s: removed\n", name)
					return nil
				}
				left, err := client.Services(ctx)
				if err != nil {
					return err
				}
				return e.printJSON(nonNil(left))
			})
		},
	}
}

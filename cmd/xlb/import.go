package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/config"
	"github.com/xlb-io/xlb/pkg/importer"
)

// importFunc reads another balancer's configuration.
type importFunc func(c *cli.Context, o importer.Options) (*importer.Result, error)

func (e *env) importCommand() *cli.Command {
	file := func(read func(string, importer.Options) (*importer.Result, error)) importFunc {
		return func(c *cli.Context, o importer.Options) (*importer.Result, error) { return read(c.Args().First(), o) }
	}
	return &cli.Command{
		Name:  "import",
		Usage: "make a configuration out of another balancer's",
		Description: "Reads what another layer-4 balancer is configured by and prints a configuration for xlb. What\n" +
			"has no counterpart is told in its first lines: where it stands, and why.",
		UsageText: "xlb import nginx /etc/nginx/nginx.conf --vip 203.0.113.10 > xlb.yaml\nipvsadm-save -n | xlb import ipvs > xlb.yaml",
		Subcommands: []*cli.Command{
			e.importFrom("nginx", "FILE", "import the stream part of nginx", "Each server { } of stream { } becomes a service. Included files are read too.",
				"xlb import nginx /etc/nginx/nginx.conf --vip 203.0.113.10", file(importer.Nginx)),
			e.importFrom("haproxy", "FILE", "import HAProxy's proxies of mode tcp", "Each listen, and each frontend with its default_backend, becomes a service.",
				"xlb import haproxy /etc/haproxy/haproxy.cfg --vip 203.0.113.10", file(importer.HAProxy)),
			e.importFrom("keepalived", "FILE", "import keepalived's virtual servers", "Each virtual_server becomes a service. Included files are read too.",
				"xlb import keepalived /etc/keepalived/keepalived.conf", file(importer.Keepalived)),
			e.importFrom("ipvs", "[FILE]", "import what ipvsadm-save prints", "Each virtual service becomes one of xlb. Without FILE, or with -, it is read from standard input.",
				"ipvsadm-save -n | xlb import ipvs", e.importIPVS),
		},
	}
}

func (e *env) importFrom(name, args, usage, description, example string, read importFunc) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: args, UsageText: example,
		Description: description,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "interface", Aliases: []string{"i"}, Usage: "`NAME` of an interface where traffic enters; may be given several times", Value: cli.NewStringSlice("eth0")},
			&cli.StringSliceFlag{Name: "vip", Usage: "`ADDRESS` that stands for listeners on any address; may be given several times"},
			&cli.PathFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` to write, which must not be there yet, instead of standard output"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			o := importer.Options{Interfaces: c.StringSlice("interface")}
			for _, text := range c.StringSlice("vip") {
				vip, err := netip.ParseAddr(text)
				if err != nil || !vip.IsGlobalUnicast() || vip.Zone() != "" {
					return usagef("--vip %q is not an address that packets can go to", text)
				}
				o.VIPs = append(o.VIPs, vip.Unmap())
			}
			result, err := read(c, o)
			if wrong := (*importer.Error)(nil); errors.As(err, &wrong) {
				return &configError{wrong.Error()}
			}
			if err != nil {
				return err
			}
			return e.imported(c, result)
		},
	}
}

func (e *env) importIPVS(c *cli.Context, o importer.Options) (*importer.Result, error) {
	path := c.Args().First()
	if path == "" || path == "-" {
		if e.stdinIsTerminal {
			return nil, usagef("give a FILE, or pipe into it: ipvsadm-save -n | xlb import ipvs")
		}
		return importer.IPVS("standard input", e.input(c.Context), o)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return importer.IPVS(path, f, o)
}

// imported prints the result, and says what is to be done before it can run.
func (e *env) imported(c *cli.Context, result *importer.Result) error {
	text, err := result.YAML()
	if err != nil {
		return err
	}
	out, done := e.stdout, func() error { return nil }
	if path := c.Path("output"); path != "" {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return fmt.Errorf("%w (what is there is not overwritten)", err)
		}
		out, done = f, f.Close
	}
	if c.Bool("json") {
		notes := result.Notes
		if notes == nil {
			notes = []importer.Note{}
		}
		if err := e.printJSON(struct {
			Services int             `json:"services"`
			Config   string          `json:"config"`
			Notes    []importer.Note `json:"notes"`
		}{len(result.Services), string(text), notes}); err != nil {
			return err
		}
	}
	if !c.Bool("json") || c.Path("output") != "" {
		if _, err := out.Write(text); err != nil {
			return errors.Join(err, done())
		}
	}
	if err := done(); err != nil {
		return err
	}
	left := 0
	for _, n := range result.Notes {
		if n.LeftOut {
			left++
		}
	}
	fmt.Fprintf(e.stderr, "xlb: %s, %d left out, %d without counterpart\n", plural(len(result.Services), "service"), left, len(result.Notes)-left)
	if len(result.Services) == 0 {
		return failf("nothing could be imported")
	}
	name := c.Path("output")
	if name == "" {
		name = "the output"
	}
	if _, err := config.Parse(name, text); err != nil {
		return &configError{fmt.Sprintf("xlb: what was made needs mending by hand:\n%v", err)}
	}
	return nil
}

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/backendhost"
)

func (e *env) backendHostCommand() *cli.Command {
	return &cli.Command{
		Name:  "backend-host",
		Usage: "prepare this host as a backend of direct server return, or undo that",
		Description: "Run it on a backend, not on the balancer. Puts the VIPs on lo, keeps this host silent about\n" +
			"them on its network, lets clients through the reverse-path filter and, for the tunnels ipip\n" +
			"and gue, takes the outer headers off in the kernel and announces TCP segments that leave room\n" +
			"for them. What is right already is left alone, so running it again is safe; without --vip it\n" +
			"applies what it applied last. The settings end with the next boot: run it at every boot.\n\n" +
			"--check changes nothing: it prints what is wrong, as a script of the commands that mend it, and\n" +
			"exits with 1 if anything is. --undo brings back exactly what was there before.",
		UsageText: "xlb backend-host --vip 203.0.113.10 --vip 2001:db8::10 --forward l2dsr\n" +
			"xlb backend-host --vip 203.0.113.10 --forward ipip --from 10.0.0.2 --from 10.0.0.3\n" +
			"xlb backend-host --check\n" +
			"xlb backend-host --status\n" +
			"xlb backend-host --undo",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "check", Usage: "only say what is wrong and how to mend it"},
			&cli.BoolFlag{Name: "status", Usage: "show what was applied, and what the tunnel counted"},
			&cli.BoolFlag{Name: "undo", Usage: "bring back what was there before"},
			&cli.StringSliceFlag{Name: "vip", Usage: "service `ADDRESS` that this host answers for, repeatable"},
			&cli.GenericFlag{
				Name: "forward", Usage: "how the balancer sends: `l2dsr|ipip|gue`",
				Value: &choice{words: []string{backendhost.L2DSR, backendhost.IPIP, backendhost.GUE}},
			},
			&cli.StringSliceFlag{Name: "from", Usage: "outer source that a tunnel is accepted from, an `ADDRESS` or prefix, repeatable"},
			&cli.StringFlag{Name: "interface", Usage: "`NAME` of where the balancer's packets arrive (default: by the route)"},
			&cli.IntFlag{Name: "gue-port", Usage: "UDP `PORT` of gue", Value: backendhost.DefaultGUEPort},
			&cli.GenericFlag{
				Name: "hook", Usage: "where the outer headers are taken off: `auto|xdp|tc`",
				Value: &choice{value: backendhost.HookAuto, words: []string{backendhost.HookAuto, backendhost.HookXDP, backendhost.HookTC}},
			},
			&cli.StringFlag{Name: "mss", Usage: "TCP segment size to announce in a tunnel: auto, off or `BYTES`", Value: backendhost.MSSAuto},
			&cli.PathFlag{
				Name: "state-dir", Usage: "`DIR` for the file that says how to undo",
				Value: backendhost.DefaultStateDir, EnvVars: []string{"XLB_STATE_DIR"},
			},
			&cli.PathFlag{
				Name: "pin-dir", Usage: "`DIR` of the tunnel's pins, on a BPF file system, not the balancer's",
				Value: backendhost.DefaultPinDir,
			},
			jsonFlag(),
		},
		Action: e.backendHost,
	}
}

func (e *env) backendHost(c *cli.Context) error {
	dirs := backendhost.Dirs{State: c.Path("state-dir"), Pins: c.Path("pin-dir")}
	var verbs []string
	for _, v := range []string{"check", "status", "undo"} {
		if c.Bool(v) {
			verbs = append(verbs, "--"+v)
		}
	}
	if len(verbs) > 1 {
		return usagef("%s exclude each other", strings.Join(verbs, " and "))
	}
	config, err := backendHostConfig(c)
	if err != nil {
		return err
	}
	if config != nil && (c.Bool("status") || c.Bool("undo")) {
		return usagef("%s takes no settings: it is about what was applied", verbs[0])
	}
	switch {
	case c.Bool("status"):
		err = e.backendHostStatus(c, dirs)
	case c.Bool("undo"):
		err = e.backendHostUndo(c, dirs)
	case c.Bool("check"):
		err = e.backendHostCheck(c, config, dirs)
	default:
		err = e.backendHostApply(c, config, dirs)
	}
	switch {
	case errors.Is(err, backendhost.ErrNoConfig):
		return usagef("%v (say --vip and --forward)", err)
	case errors.Is(err, backendhost.ErrNoInterface):
		return usagef("%v (say --interface)", err)
	}
	return needsRoot(err)
}

// backendHostConfig returns nil if the command line says nothing of one.
func backendHostConfig(c *cli.Context) (*backendhost.Config, error) {
	settings := []string{"vip", "forward", "from", "interface", "gue-port", "hook", "mss"}
	if !slices.ContainsFunc(settings, c.IsSet) {
		return nil, nil
	}
	config := &backendhost.Config{
		Forward: c.Generic("forward").(*choice).value, Interface: c.String("interface"),
	}
	if len(c.StringSlice("vip")) == 0 {
		return nil, usagef("--vip is missing (--vip ADDRESS)")
	}
	if config.Forward == "" {
		return nil, usagef("--forward is missing (--forward l2dsr|ipip|gue)")
	}
	for _, text := range c.StringSlice("vip") {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, usagef("--vip is %q (want an IP address)", text)
		}
		config.VIPs = append(config.VIPs, a)
	}
	if err := backendHostTunnel(c, config); err != nil {
		return nil, err
	}
	if err := config.Normalise(); err != nil {
		return nil, usagef("%v", err)
	}
	return config, nil
}

// backendHostTunnel reads what only tunnels have.
func backendHostTunnel(c *cli.Context, config *backendhost.Config) error {
	if !config.Tunnels() {
		for _, f := range []string{"from", "gue-port", "hook", "mss"} {
			if c.IsSet(f) {
				return usagef("--%s is for tunnels, and %s is none", f, config.Forward)
			}
		}
		return nil
	}
	if c.IsSet("gue-port") && config.Forward != backendhost.GUE {
		return usagef("--gue-port is for gue, and this is %s", config.Forward)
	}
	if len(c.StringSlice("from")) == 0 {
		return usagef("--from is missing (--from BALANCER_ADDRESS): without it anybody could send packets under any client's address")
	}
	for _, text := range c.StringSlice("from") {
		p, err := netip.ParsePrefix(text)
		if a, single := netip.ParseAddr(text); single == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return usagef("--from is %q (want an IP address or a prefix)", text)
		}
		config.From = append(config.From, p)
	}
	config.Hook, config.MSS = c.Generic("hook").(*choice).value, c.String("mss")
	if config.Forward == backendhost.GUE {
		port := c.Int("gue-port")
		if port < 1 || port > 65535 {
			return usagef("--gue-port is %d (want 1 to 65535)", port)
		}
		config.GUEPort = uint16(port)
	}
	return nil
}

func (e *env) backendHostApply(c *cli.Context, config *backendhost.Config, dirs backendhost.Dirs) error {
	r, err := backendhost.Apply(config, dirs)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return e.printJSON(r)
	}
	for _, change := range r.Changed {
		e.printf("%s\n", printable(change))
	}
	if len(r.Changed) == 0 {
		e.printf("nothing to change: ")
	}
	e.printf("this host is ready for %s\n", backendHostText(r.Config))
	return nil
}

func backendHostText(c *backendhost.Config) string {
	text := c.Forward + " to " + joined(c.VIPs)
	if len(c.From) > 0 {
		text += " from " + joined(c.From)
	}
	return text + " on " + c.Interface
}

func joined[T fmt.Stringer](list []T) string {
	var words []string
	for _, v := range list {
		words = append(words, v.String())
	}
	return strings.Join(words, ", ")
}

func (e *env) backendHostCheck(c *cli.Context, config *backendhost.Config, dirs backendhost.Dirs) error {
	f, err := backendhost.Check(config, dirs)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = e.printJSON(f)
	} else {
		for _, p := range f.Problems {
			e.printf("%s  %s\n", printable(p.Mend), e.paint("# "+printable(p.What), red))
		}
		if f.OK {
			e.printf("# all is right: this host is ready for %s\n", backendHostText(f.Config))
		}
	}
	if err == nil && !f.OK {
		return errSilent
	}
	return err
}

func (e *env) backendHostUndo(c *cli.Context, dirs backendhost.Dirs) error {
	undone, err := backendhost.Undo(dirs)
	if c.Bool("json") {
		if err != nil && len(undone) == 0 {
			return err
		}
		return errors.Join(err, e.printJSON(struct {
			Undone []string `json:"undone"`
		}{undone}))
	}
	for _, u := range undone {
		e.printf("%s\n", printable(u))
	}
	if err == nil && len(undone) == 0 {
		e.printf("nothing to undo\n")
	}
	return err
}

func (e *env) backendHostStatus(c *cli.Context, dirs backendhost.Dirs) error {
	s, err := backendhost.Show(dirs)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return e.printJSON(s)
	}
	if s.Config == nil {
		e.printf("nothing was applied to this host\n")
		return nil
	}
	e.printf("%s\n", backendHostText(s.Config))
	if s.Void {
		e.printf("the last boot undid it: `xlb backend-host` applies it again\n")
	}
	if s.Tunnel != nil {
		e.printf("outer headers are taken off by %s: %s\n", s.Tunnel.Hook, printable(s.Tunnel.Why))
	}
	if s.MSS != nil {
		e.printf("TCP segments announced: %d bytes for IPv4, %d for IPv6\n", s.MSS.IPv4, s.MSS.IPv6)
	}
	if len(s.Counters) == 0 {
		return nil
	}
	e.printf("\n")
	t := &table{columns: []column{{name: "REASON"}, {name: "PACKETS", align: right}, {name: "MEANING", shrinks: true}}}
	for _, n := range s.Counters {
		t.add(n.Reason, n.Packets, n.Meaning)
	}
	e.printTable(t, "")
	return nil
}

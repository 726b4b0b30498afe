package main

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/config"
	"github.com/xlb-io/xlb/pkg/control"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// What a plan was compared with.
const (
	againstDaemon  = "daemon"
	againstPins    = "pins"
	againstNothing = "nothing"
)

// planWithoutDaemon plans as a daemon would at its start. Content replaces the
// file at path if it is not empty.
func (e *env) planWithoutDaemon(c *cli.Context, path, content string) (planResult, error) {
	result := planResult{Against: againstNothing}
	said, err := control.ReadOperator(c.Path("state-dir"))
	if err != nil {
		return result, needsRoot(err)
	}
	additions := config.Additions(config.AdditionsOf(said.Services))
	cfg, err := config.Parse(path, []byte(content), additions)
	if content == "" {
		cfg, err = e.loadConfig(c.Context, path, additions)
	}
	if err != nil {
		return result, err
	}
	in := control.Input{
		Settings: cfg.Settings, Services: cfg.Services, Sizes: maps.SizesOf(cfg.Settings), Time: e.now(),
		Overrides: said.Overrides, Added: said.Backends, DisabledZones: said.Zones,
		Networks: cfg.Networks, Standings: control.KeptStandings(c.Path("state-dir"), e.now(), slog.New(slog.DiscardHandler)),
	}
	if in.Deciding, err = control.Deciding(cfg); err != nil {
		return result, usagef("%s: %v", path, err)
	}
	result.Warnings = control.LeftOut(cfg)
	missing := withLastFound(cfg, c.Path("state-dir"))
	for _, text := range missing {
		result.Warnings = append(result.Warnings, text+"; the plan is without its backends")
	}
	if err := result.compareWithPins(&in, c.Path("pin-dir")); err != nil {
		return result, err
	}
	if in.Local, err = loader.HostAddresses(); err != nil {
		return result, err
	}
	in.AutoSources, in.AutoTunnelSources = autoSources(cfg, in.Present), autoTunnelSources(cfg, in.Present)
	in.Health = healthInMaps(cfg, in.Present)
	plan, err := control.NewPlanner().Plan(in)
	if err != nil {
		return result, usagef("%s: %v", path, err)
	}
	result.Changes = control.Describe(maps.Diff(in.Present, plan.Contents), plan.Words())
	result.Warnings = nonNil(append(result.Warnings, plan.Warnings...))
	result.Restart = []string{}
	return result, nil
}

// compareWithPins makes the pinned maps, if there are any, what is present.
func (r *planResult) compareWithPins(in *control.Input, pinDir string) error {
	set, err := loader.OpenMaps(pinDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return needsRoot(err)
	}
	defer set.Close()
	r.Against = againstPins
	if in.Present, err = set.Read(); err != nil {
		return err
	}
	if set.Sizes() != in.Sizes {
		r.Warnings = append(r.Warnings, "the pinned maps have other sizes; the daemon makes new ones when it starts")
		in.Sizes = set.Sizes()
	}
	return nil
}

// withLastFound adds what discovery found last to the backends of the services.
// It returns, in words, of which sources nothing is known.
func withLastFound(cfg *model.Config, stateDir string) []string {
	found, missing := control.LastDiscovered(stateDir, cfg.Services, slog.New(slog.DiscardHandler))
	for i := range cfg.Services {
		cfg.Services[i].Backends = found[cfg.Services[i].Name]
	}
	return missing
}

// autoSources are the sources that a daemon would choose: per family the one in
// the maps or, if there is none, the kernel's choice towards the first backend.
func autoSources(cfg *model.Config, present maps.Contents) (out []netip.Addr) {
	if len(cfg.Settings.Sources) > 0 {
		return nil
	}
	for _, i := range sortedKeys(present.Sources) {
		out = append(out, present.Sources[i])
	}
	return hostSources(cfg, out, func(f model.Forward) bool { return f == model.NAT })
}

// autoTunnelSources are the same of outer source addresses.
func autoTunnelSources(cfg *model.Config, present maps.Contents) (out []netip.Addr) {
	if len(cfg.Settings.TunnelSources) > 0 {
		return nil
	}
	for _, i := range sortedKeys(present.Tunnels) {
		if t := present.Tunnels[i]; t.EntropyBits == 0 { // else the configuration gave it
			out = append(out, t.Source)
		}
	}
	return hostSources(cfg, out, model.Forward.Tunnels)
}

// hostSources are, per family, the first of known or the kernel's choice towards
// the first backend of the services that need one.
func hostSources(cfg *model.Config, known []netip.Addr, need func(model.Forward) bool) (out []netip.Addr) {
	chosen := map[bool]bool{}
	for _, a := range known {
		if !chosen[a.Is4()] {
			chosen[a.Is4()] = true
			out = append(out, a)
		}
	}
	for _, s := range cfg.Services {
		if !need(s.Forward) {
			continue
		}
		for _, b := range s.Backends {
			family := b.Address.Addr().Is4()
			if chosen[family] {
				continue
			}
			if a, ok := sourceTowards(b.Address); ok {
				chosen[family] = true
				out = append(out, a)
			}
		}
	}
	return out
}

// sourceTowards asks the routing table by connecting a UDP socket, which sends
// nothing.
func sourceTowards(to netip.AddrPort) (netip.Addr, bool) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return netip.Addr{}, false
	}
	defer conn.Close()
	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	return local.Addr().Unmap().WithZone(""), err == nil
}

// healthInMaps takes what the maps hold as not serving for down, as a daemon
// does until its first probe.
func healthInMaps(cfg *model.Config, present maps.Contents) map[probe.Key]model.BackendHealth {
	down := map[netip.AddrPort]bool{}
	for _, b := range present.Backends {
		if !b.Serves {
			down[b.Address] = true
		}
	}
	health := map[probe.Key]model.BackendHealth{}
	for _, s := range cfg.Services {
		for _, b := range s.Backends {
			if s.Probe.Type != model.ProbeNone && down[b.Address] {
				health[probe.Key{Service: s.Name, Backend: b.Address}] = model.BackendHealth{State: model.Unhealthy}
			}
		}
	}
	return health
}

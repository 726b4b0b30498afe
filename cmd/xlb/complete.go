package main

import (
	"context"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
)

// completeTimeout bounds what a shell waits for after Tab.
const completeTimeout = 2 * time.Second

// given returns the last use of a flag, by any of its names.
func (l *line) given(names []string) *givenFlag {
	for i := len(l.flags) - 1; i >= 0; i-- {
		if slices.Contains(names, l.flags[i].name) {
			return &l.flags[i]
		}
	}
	return nil
}

// value returns what the line says for a flag, or its default.
func (l *line) value(name string) string {
	f := l.flag(name)
	if f == nil {
		return ""
	}
	if g := l.given(f.Names()); g != nil {
		return g.value()
	}
	if v, ok := environment(f); ok {
		return v
	}
	if p, ok := f.(*cli.PathFlag); ok {
		return p.Value
	}
	return ""
}

// flagValues are the words that a flag could take; none means a file.
func (e *env) flagValues(ctx context.Context, l *line, f cli.Flag) []string {
	if g, ok := f.(*cli.GenericFlag); ok {
		switch c := g.Value.(type) {
		case *choice:
			return c.words
		case *choices:
			return c.words
		}
	}
	switch f.Names()[0] {
	case "service":
		return e.knownServices(ctx, l)
	case "backend":
		return e.knownBackends(ctx, l, l.value("service"))
	}
	return nil
}

// argumentValues are the words that could be the next argument.
func (e *env) argumentValues(ctx context.Context, l *line) []string {
	switch what := argumentName(l.command().ArgsUsage, len(l.arguments)); what {
	case "SERVICE":
		return e.knownServices(ctx, l)
	case "ZONE":
		return e.knownZones(ctx, l)
	case "ADDRESS":
		return e.knownBackends(ctx, l, l.arguments[0])
	case "MAP":
		if l.command().Name == "load" {
			return maps.Loadable()
		}
		return maps.Names()
	case "WEIGHT":
		return []string{"reset"}
	}
	return nil
}

func (e *env) knownServices(ctx context.Context, l *line) (names []string) {
	e.ask(ctx, l, func(ctx context.Context, client *api.Client) error {
		services, err := client.Services(ctx)
		for _, s := range services {
			names = append(names, s.Name)
		}
		return err
	})
	return names
}

func (e *env) knownBackends(ctx context.Context, l *line, service string) (addresses []string) {
	e.ask(ctx, l, func(ctx context.Context, client *api.Client) error {
		backends, err := client.Backends(ctx, service)
		for _, b := range backends {
			addresses = append(addresses, b.Address.String())
		}
		return err
	})
	return slices.Compact(addresses)
}

func (e *env) knownZones(ctx context.Context, l *line) (names []string) {
	e.ask(ctx, l, func(ctx context.Context, client *api.Client) error {
		zones, err := client.Zones(ctx, "")
		for _, z := range zones {
			names = append(names, z.Zone)
		}
		return err
	})
	return slices.Compact(names)
}

// ask talks to the daemon of the line's --socket. A failure only means that
// there is nothing to offer.
func (e *env) ask(ctx context.Context, l *line, f func(context.Context, *api.Client) error) {
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	client, err := api.Dial(l.value("socket"))
	if err != nil {
		return
	}
	defer client.Close()
	_ = f(ctx, client)
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
)

// withDaemon calls f with a client of the daemon.
func withDaemon(c *cli.Context, f func(context.Context, *api.Client) error) error {
	client, err := api.Dial(c.Path("socket"))
	if err != nil {
		return err
	}
	defer client.Close()
	return f(c.Context, client)
}

// wrongConfig makes the daemon's word on a wrong configuration the exit status
// and the lines that `xlb check` has for it.
func wrongConfig(err error) error {
	if api.IsConfigError(err) {
		return &configError{err.Error()}
	}
	return err
}

// unknownService improves the daemon's answer with a name that exists.
func unknownService(ctx context.Context, client *api.Client, name string, err error) error {
	if e, ok := errors.AsType[*api.Error](err); !ok || e.Status != 404 || name == "" {
		return err
	}
	services, listErr := client.Services(ctx)
	if listErr != nil {
		return err
	}
	var names []string
	for _, s := range services {
		if s.Name == name {
			return err // the service is known, something else is not
		}
		names = append(names, s.Name)
	}
	return notFound("service", name, names)
}

// notFound says that there is no thing of that name, and what there is.
func notFound(what, name string, known []string) error {
	if near := nearest(name, known); near != "" {
		return failf("there is no %s %q (did you mean %s?)", what, name, near)
	}
	return failf("there is no %s %q (%s)", what, name, knownText(known))
}

// knownText says what there is.
func knownText(known []string) string {
	slices.Sort(known)
	known = slices.Compact(known)
	const few = 8
	switch {
	case len(known) == 0:
		return "there is none at all"
	case len(known) > few:
		return fmt.Sprintf("%d are known: %s, …", len(known), strings.Join(known[:few], ", "))
	}
	return "known: " + strings.Join(known, ", ")
}

// saidBackend resolves what the user typed for a backend of which something was
// said; it may be in no list.
func saidBackend(ctx context.Context, client *api.Client, service, typed string) (netip.AddrPort, error) {
	if exact, err := netip.ParseAddrPort(typed); err == nil {
		return exact, nil
	}
	return findBackend(ctx, client, service, typed)
}

// findBackend resolves what the user typed for a backend: its address, with a
// port unless only one backend of the service has the address.
func findBackend(ctx context.Context, client *api.Client, service, typed string) (netip.AddrPort, error) {
	detail, err := client.Service(ctx, service)
	if err != nil {
		return netip.AddrPort{}, unknownService(ctx, client, service, err)
	}
	if exact, err := netip.ParseAddrPort(typed); err == nil {
		for _, b := range detail.Backends {
			if b.Address == exact {
				return exact, nil
			}
		}
	} else {
		addr, err := netip.ParseAddr(strings.Trim(typed, "[]"))
		if err != nil {
			return netip.AddrPort{}, usagef("%q is not a backend address (for example 10.0.0.11:8080 or [2001:db8::11]:8080)", typed)
		}
		var found []netip.AddrPort
		for _, b := range detail.Backends {
			if b.Address.Addr() == addr {
				found = append(found, b.Address)
			}
		}
		if len(found) == 1 {
			return found[0], nil
		}
		if len(found) > 1 {
			return netip.AddrPort{}, usagef("service %s has %d backends with address %s (add the port: %s)", service, len(found), addr, joinAddresses(found))
		}
	}
	var known []string
	for _, b := range detail.Backends {
		known = append(known, b.Address.String())
	}
	return netip.AddrPort{}, failf("service %s has no backend %s (%s)", service, typed, knownText(known))
}

func joinAddresses(list []netip.AddrPort) string {
	var texts []string
	for _, a := range list {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ", ")
}

// orDash stands for an empty text.
func orDash(s string) string { return cmp.Or(s, "-") }

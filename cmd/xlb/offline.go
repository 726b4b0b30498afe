package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/maps"
)

// offline answers from the pinned maps what a daemon would be asked, for the
// time that none runs. Maps hold no names: services are "#" and their number.
type offline struct {
	set      *maps.Set
	contents maps.Contents
}

// openOffline opens the pinned maps. The text of a failure says why the daemon
// was not asked.
func openOffline(pinDir string, noDaemon error) (*offline, error) {
	set, err := loader.OpenMaps(pinDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, noDaemon
	}
	if err != nil {
		return nil, fmt.Errorf("%w, and the pinned maps cannot be read: %w", noDaemon, needsRoot(err))
	}
	contents, err := set.Read()
	if err != nil {
		set.Close()
		return nil, fmt.Errorf("%w, and the pinned maps cannot be read: %w", noDaemon, err)
	}
	return &offline{set, contents}, nil
}

// fallBack calls online with the daemon or, if there is none, without with the
// pinned maps.
func (e *env) fallBack(c *cli.Context, online func(context.Context, *api.Client) error, without func(*offline) error) error {
	err := withDaemon(c, online)
	if !errors.Is(err, api.ErrNoDaemon) {
		return err
	}
	maps, err := openOffline(c.Path("pin-dir"), err)
	if err != nil {
		return err
	}
	defer maps.set.Close()
	return without(maps)
}

func serviceName(id uint32) string { return "#" + strconv.FormatUint(uint64(id), 10) }

// service resolves a name as offline shows it; 0 means all.
func (o *offline) service(name string) (uint32, error) {
	if name == "" {
		return 0, nil
	}
	id, err := strconv.ParseUint(strings.TrimPrefix(name, "#"), 10, 32)
	if err != nil {
		return 0, failf("no daemon runs that knows the name %q (without one, services go by number: --service '#1')", name)
	}
	if _, ok := o.contents.Services[uint32(id)]; !ok {
		var known []string
		for id := range o.contents.Services {
			known = append(known, serviceName(id))
		}
		return 0, notFound("service", name, known)
	}
	return uint32(id), nil
}

func (o *offline) flows(f api.FlowFilter) iter.Seq2[api.Flow, error] {
	return func(yield func(api.Flow, error) bool) {
		service, err := o.service(f.Service)
		if err != nil {
			yield(api.Flow{}, err)
			return
		}
		shown := 0
		for flow := range o.set.Flows() {
			backend := o.contents.Backends[flow.Backend].Address
			if service != 0 && flow.Service != service || !matchesBackend(f.Backend, backend) || !matchesClient(f.Client, flow.Client.Addr()) {
				continue
			}
			out := api.Flow{
				Client: flow.Client, VIP: flow.VIP, Protocol: flow.Protocol.String(),
				Service: serviceName(flow.Service), Backend: backend, State: flow.State,
				IdleSeconds: flow.Idle.Seconds(), ExpiresSeconds: flow.Expires.Seconds(),
			}
			if flow.NAT.IsValid() {
				out.NAT = &flow.NAT
			}
			if !yield(out, nil) {
				return
			}
			if shown++; shown == f.Limit {
				return
			}
		}
	}
}

// matchesBackend compares with an address, with a port or without.
func matchesBackend(filter string, backend netip.AddrPort) bool {
	if filter == "" {
		return true
	}
	if a, err := netip.ParseAddrPort(filter); err == nil {
		return a == backend
	}
	a, err := netip.ParseAddr(filter)
	return err == nil && a == backend.Addr()
}

// matchesClient compares with an address or a prefix.
func matchesClient(filter string, client netip.Addr) bool {
	if filter == "" {
		return true
	}
	if p, err := netip.ParsePrefix(filter); err == nil {
		return p.Contains(client)
	}
	a, err := netip.ParseAddr(filter)
	return err == nil && a == client
}

func (o *offline) stats(e *env, f api.StatsFilter) (api.Stats, error) {
	s := api.Stats{At: e.now(), Hooks: []api.HookStats{}, Services: []api.ServiceStats{}, Backends: []api.BackendStats{}}
	service, err := o.service(f.Service)
	if err != nil {
		return s, err
	}
	reasons, err := o.set.Reasons()
	if err != nil {
		return s, err
	}
	events, err := o.set.Events()
	if err != nil {
		return s, err
	}
	s.Reasons, s.Events = counters(reasons), counters(events)
	flows, ofService := o.set.FlowCounts(), map[uint32]int{}
	for _, id := range sortedKeys(o.contents.Backends) {
		b := o.contents.Backends[id]
		ofService[b.Service] += flows[id]
		if f.NoBackends || service != 0 && b.Service != service {
			continue
		}
		t, err := o.set.BackendTraffic(id)
		if err != nil {
			return s, err
		}
		outcomes, err := o.outcomes(b.Service, id, o.set.BackendOutcomes)
		if err != nil {
			return s, err
		}
		if outcomes != nil {
			outcomes.HandshakeSeconds = o.set.BackendLoad(id).Latency.Seconds()
		}
		s.Backends = append(s.Backends, api.BackendStats{Service: serviceName(b.Service), Address: b.Address, ID: id, Flows: flows[id], Traffic: traffic(t), Outcomes: outcomes})
	}
	for _, id := range sortedKeys(o.contents.Services) {
		if service != 0 && id != service {
			continue
		}
		t, err := o.set.ServiceTraffic(id)
		if err != nil {
			return s, err
		}
		outcomes, err := o.outcomes(id, id, o.set.ServiceOutcomes)
		if err != nil {
			return s, err
		}
		r, err := o.set.Refused(id)
		if err != nil {
			return s, err
		}
		s.Services = append(s.Services, api.ServiceStats{
			Service: serviceName(id), ID: id, Flows: ofService[id], Traffic: traffic(t), Outcomes: outcomes,
			Refused: api.Refused{Denied: r.Denied, NotAllowed: r.NotAllowed, Rate: r.Rate, RatePerSource: r.RatePerSource, MaxConnections: r.Connections},
		})
	}
	return s, nil
}

func counters(list []maps.NamedCount) []api.Counter {
	out := make([]api.Counter, len(list))
	for i, c := range list {
		out[i] = api.Counter{Name: c.Name, Count: api.Count(c.Count)}
	}
	return out
}

func traffic(t maps.Traffic) api.Traffic {
	return api.Traffic{
		Request: api.Count(t.Request), Reply: api.Count(t.Reply), Dropped: api.Count(t.Dropped), FlowsCreated: t.Flows,
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

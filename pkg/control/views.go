package control

import (
	"cmp"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// Service implements [api.Daemon].
func (c *controller) Service(name string) (api.ServiceDetail, error) {
	s := c.published.Load()
	state, err := s.find(name)
	if err != nil {
		return api.ServiceDetail{}, err
	}
	traffic, err := c.data.ServiceTraffic(state.ID)
	if err != nil {
		return api.ServiceDetail{}, err
	}
	refused, err := c.data.Refused(state.ID)
	if err != nil {
		return api.ServiceDetail{}, err
	}
	out := api.ServiceDetail{
		Service: s.service(state), ID: state.ID, TableSize: c.data.Sizes().Table, Traffic: trafficOf(traffic), Refused: refusedOf(refused),
		Probe: api.ServiceProbe{Type: string(model.ProbeNone)},
	}
	for i := range out.Backends {
		load := c.data.BackendLoad(out.Backends[i].ID)
		out.Backends[i].Connections, out.Backends[i].LatencySeconds = load.Connections, load.Latency.Seconds()
	}
	cfg := s.configured(name)
	if cfg == nil {
		return out, nil // configured differently since; the plan follows
	}
	out.Rules = c.rulesOf(s, *cfg, state)
	out.Probe = probeOf(cfg.Probe)
	out.Placement, out.Failing = placementOf(s.cfg.Settings, cfg.Placement), failingOf(cfg.Outcomes)
	out.Timeouts = map[string]float64{
		"tcp_syn": cfg.Timeouts.TCPSyn.Seconds(), "tcp_established": cfg.Timeouts.TCPEstablished.Seconds(),
		"tcp_fin": cfg.Timeouts.TCPFin.Seconds(), "tcp_closed": cfg.Timeouts.TCPClosed.Seconds(), "udp": cfg.Timeouts.UDP.Seconds(),
	}
	return out, nil
}

func placementOf(set model.Settings, p model.Placement) api.Placement {
	out := api.Placement{
		TierMinHealthy: p.Tiers.MinHealthy, TierReturnAfterSeconds: p.Tiers.ReturnAfter.Seconds(),
		EqualZones: p.Zones.EqualShare, ZoneMinHealthy: p.Zones.MinHealthy, PanicThreshold: p.PanicThreshold,
		SlowStartSeconds: p.SlowStart.Seconds(), DrainTimeoutSeconds: p.DrainTimeout.Seconds(),
	}
	if p.Subset != (model.Subset{}) {
		out.Subset = p.Subset.String()
	}
	if p.Tiers.MinHealthy > 0 || p.PanicThreshold > 0 {
		out.TierWhenLow = p.Tiers.WhenLow.String()
	}
	if p.Zones.PreferOwn {
		out.PreferZone = set.Zone
	}
	return out
}

// Backends implements [api.Daemon].
func (c *controller) Backends(service string) ([]api.ServiceBackend, error) {
	s := c.published.Load()
	if service != "" {
		if _, err := s.find(service); err != nil {
			return nil, err
		}
	}
	out := []api.ServiceBackend{}
	for _, one := range s.all() {
		if service != "" && one.Name != service {
			continue
		}
		for _, b := range s.backends(one) {
			var err error
			if b.Outcomes, err = c.backendOutcomes(one, b.ID); err != nil {
				return nil, err
			}
			out = append(out, api.ServiceBackend{Service: one.Name, Backend: b})
		}
	}
	slices.SortStableFunc(out, func(a, b api.ServiceBackend) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), a.Address.Compare(b.Address))
	})
	return out, nil
}

func trafficOf(t maps.Traffic) api.Traffic {
	return api.Traffic{
		Request: api.Count(t.Request), Reply: api.Count(t.Reply), Dropped: api.Count(t.Dropped), FlowsCreated: t.Flows,
	}
}

// Flows implements [api.Daemon].
func (c *controller) Flows(f api.FlowFilter) (iter.Seq[api.Flow], error) {
	s := c.published.Load()
	match, err := s.flowMatcher(f)
	if err != nil {
		return nil, err
	}
	names := map[uint32]string{}
	for id, name := range s.names {
		names[id] = name
	}
	addresses := map[uint32]netip.AddrPort{}
	for _, one := range s.all() {
		for _, b := range one.Backends {
			addresses[b.ID] = b.Address
		}
	}
	return func(yield func(api.Flow) bool) {
		sent := 0
		for flow := range c.data.Flows() {
			if !match(flow) {
				continue
			}
			out := api.Flow{
				Client: flow.Client, VIP: flow.VIP, Protocol: flow.Protocol.String(), Service: names[flow.Service],
				Backend: addresses[flow.Backend], State: flow.State,
				IdleSeconds: seconds(flow.Idle), ExpiresSeconds: seconds(flow.Expires),
			}
			if out.Service == "" {
				out.Service = fmt.Sprintf("#%d", flow.Service)
			}
			if flow.NAT.IsValid() {
				out.NAT = &flow.NAT
			}
			sent++
			if !yield(out) || sent == f.Limit {
				return
			}
		}
	}, nil
}

// seconds drops what is below the resolution of the data plane's clock.
func seconds(d time.Duration) float64 { return d.Round(10 * time.Millisecond).Seconds() }

// flowMatcher compiles a filter to comparisons of numbers and addresses, cheap
// enough for millions of flows.
func (s *snapshot) flowMatcher(f api.FlowFilter) (func(maps.Flow) bool, error) {
	var service uint32
	if f.Service != "" {
		state, err := s.find(f.Service)
		if err != nil {
			return nil, err
		}
		service = state.ID
	}
	var backends map[uint32]bool
	if f.Backend != "" {
		address, port, err := parseBackend(f.Backend)
		if err != nil {
			return nil, err
		}
		backends = map[uint32]bool{}
		for _, one := range s.all() {
			for _, b := range one.Backends {
				if b.Address.Addr() == address && (port == 0 || b.Address.Port() == port) {
					backends[b.ID] = true
				}
			}
		}
		if len(backends) == 0 {
			return nil, api.Errorf(404, "no backend %s (`xlb backend ls` shows them)", f.Backend)
		}
	}
	var clients netip.Prefix
	if f.Client != "" {
		var err error
		if clients, err = parsePrefix(f.Client); err != nil {
			return nil, err
		}
	}
	return func(flow maps.Flow) bool {
		return (service == 0 || flow.Service == service) &&
			(backends == nil || backends[flow.Backend]) &&
			(!clients.IsValid() || clients.Contains(flow.Client.Addr()))
	}, nil
}

func parseBackend(text string) (netip.Addr, uint16, error) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr(), ap.Port(), nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return a, 0, api.Errorf(400, "backend %q is not an address (for example 10.0.0.11 or 10.0.0.11:8080)", text)
	}
	return a, 0, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, api.Errorf(400, "client %q is not an address or prefix (for example 192.0.2.7 or 192.0.2.0/24)", text)
	}
	return p.Masked(), nil
}

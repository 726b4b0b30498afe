package control

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// Input is all that a plan depends on. Nothing of it is changed.
type Input struct {
	Settings model.Settings
	Services []model.Service
	// Discovered are the backends of services by name; a service that is not
	// here has its static ones.
	Discovered map[string][]model.Backend
	// Added are those that the operator added, by the service's name.
	Added     map[string][]model.Backend
	Health    map[probe.Key]model.BackendHealth
	Overrides map[probe.Key]model.Override
	// Deciding are the services whose policies are asked about new flows.
	Deciding map[string]bool
	// Answers are what policies said last about the weights of backends.
	Answers map[string]answers
	// AutoSources are the sources, at most one of each family, if
	// Settings.Sources is empty.
	AutoSources []netip.Addr
	// AutoTunnelSources are the same of tunnels, if Settings.TunnelSources is
	// empty.
	AutoTunnelSources []netip.Addr
	// Local are the host's own addresses with their interfaces.
	Local map[netip.Addr]string
	// Present is what the maps hold.
	Present maps.Contents
	// Idle are backend numbers that no recorded flow uses: those of backends
	// that were in no table, and without such flows, for a whole sweep of the
	// flow table.
	Idle map[uint32]bool
	// IdleSources are the same of sources that no service draws from.
	IdleSources map[netip.Addr]bool
	// Sizes are the capacities of the maps.
	Sizes maps.Sizes
	// Now is the time on a clock that only goes forward.
	Now time.Duration
	// Transitions are, by table number, the times of the slots that are
	// marked in Present; where there are none, they count from Now.
	Transitions map[uint32]transition
	// Time is Now by the calendar, in which operators set deadlines.
	Time time.Time
	// Standings are, by service name, what the last plan noted for its elections.
	Standings map[string]standing
	// Breakers are, by service name, what is known of the connections to its backends.
	Breakers map[string]breakers
	// DisabledZones take no new flows: the operator said so.
	DisabledZones map[model.DisabledZone]bool
	// Networks are the files that rules name, by name.
	Networks map[string]*model.Networks
	// Survey is the last survey of the flow table; nil if there was none.
	Survey *survey
}

// Plan is the exact contents of every map, and what they mean.
type Plan struct {
	Contents maps.Contents
	// Services are sorted by name.
	Services []ServiceState
	// Retired are services that are no longer configured and still have
	// flows, without names, sorted by number.
	Retired []ServiceState
	// DrawnFrom are the sources that new flows use.
	DrawnFrom []netip.Addr
	// Warnings are sorted.
	Warnings []string

	transitions map[uint32]transition // of the tables with marked slots
	inherited   map[uint32]bool       // what tables name as previous backends
	standings   map[string]standing   // of the services that need one
}

// ServiceState is a service in a plan.
type ServiceState struct {
	Name      string
	ID        uint32
	Frontends []model.Frontend
	Forward   model.Forward
	// Track is what is recorded: always with nat and dnat.
	Track     model.Track
	Fail      model.FailMode
	Selection model.Selection
	// Decides: policies are asked about its new flows.
	Decides bool
	// Via is the way of its probes.
	Via model.ProbeVia
	// Usable is the number of backends that can take new flows.
	Usable int
	// Role is which backends take part by their role, and StandIns says that none
	// of it is usable and those of the fallback serve.
	Role     model.RoleChoice
	StandIns bool
	// Critical: without a usable backend the load balancer is not ready.
	Critical bool
	// FailOpen: none is usable, and all are used.
	FailOpen bool
	// Added: by the operator, not in the configuration file.
	Added bool
	// Panic: few of those that serve are usable, and the others are used too.
	Panic bool
	// Serving are the tiers that take new flows, the lowest first.
	Serving []uint8
	// Counts: what becomes of its connections is counted.
	Counts bool
	// NoSource: the service needs a source address and has none.
	NoSource bool
	// Tunnels are the outer headers of its packets, and NoTunnel says that one
	// is missing that its backends need.
	Tunnels  []maps.Tunnel
	NoTunnel bool
	// Rules are its lists, and Subsets where they steer to.
	Rules   RulesState
	Subsets []SubsetState
	// Limits are those of its new flows.
	Limits maps.Limits
	// Marked is how many slots of its tables are marked.
	Marked int
	// Settles is the time of Input.Now's clock after which no flow needs its
	// previous backend any more; 0 before the plan was written or if none does.
	Settles time.Duration
	// Backends are sorted by address and number.
	Backends []BackendState

	tracking tracking
	lasts    time.Duration // the longest timeout of its flows
	ejects   bool          // backends whose connections fail
	next     time.Duration // when time alone changes its election; 0: never
	left     int           // backends without a place
	warnings []string      // on its backends and sources
}

// tiers are those of its backends, the lowest first.
func (s *ServiceState) tiers() (all []uint8) {
	for _, b := range s.Backends {
		if b.State != api.StateRetired && !slices.Contains(all, b.Tier) {
			all = append(all, b.Tier)
		}
	}
	slices.Sort(all)
	return all
}

// BackendState is a backend in a plan.
type BackendState struct {
	Address netip.AddrPort
	ID      uint32
	// State is one of the api.State constants.
	State  string
	Reason string
	// Since is when the probe's state was entered, or an ejection began or ended if
	// that was later; zero without a result.
	Since time.Time
	Zone  string
	Tags  model.Tags
	// Role is what its probe says it is.
	Role string
	// Tier is its priority, by the configuration or a policy.
	Tier uint8
	// Weight is the configured one, a policy's or the operator's; Effective the one in the
	// table, 0 if not in it, and Slots its part of the table.
	Weight, Effective uint16
	Slots             int
	// Configured is the weight that the configuration or a source gives.
	Configured       uint16
	Override, Serves bool
	// Critical: without it the load balancer is not ready.
	Critical bool
	// ServerID is what connection IDs of QUIC call it; empty if nothing.
	ServerID string
	// Added: the operator did, not the configuration or a source.
	Added bool
	// Answer is what policies said of it.
	Answer Answer
	// Local: it is an address of this host, and never used.
	Local bool
	// Drained, by Input.Now's clock, is when its drain ends: then its flows move. 0:
	// it does not drain, or for as long as it takes.
	Drained time.Duration

	// Ejections are how often it was ejected because its connections failed, since
	// it last served for long. EjectedUntil is when this one ends; HalfOpen: it has,
	// and the backend is tried.
	Ejections    int
	EjectedUntil time.Time
	HalfOpen     bool

	roleSince time.Time
	outOfRole bool // the service does not take it for its role

	contends bool // but for its connections it could take new flows
	drain    bool // by its configuration or source
	leaves   bool // it is to have no new flows, whatever its health
}

// Planner makes plans. It remembers the lookup tables it has computed, which
// are most of the work; a plan depends on its input alone. It is for one
// goroutine at a time.
type Planner struct {
	tables map[uint32]builtTable
	rules  map[uint32]builtRules
}

// NewPlanner returns a planner that remembers nothing.
func NewPlanner() *Planner {
	return &Planner{tables: map[uint32]builtTable{}, rules: map[uint32]builtRules{}}
}

// Clone returns a planner that knows the same tables.
func (p *Planner) Clone() *Planner {
	c := NewPlanner()
	for id, t := range p.tables {
		c.tables[id] = t
	}
	for id, b := range p.rules {
		c.rules[id] = b
	}
	return c
}

// round is one plan in the making.
type round struct {
	Input
	services []model.Service // sorted by name
	plan     Plan
	jobs     []tableJob
	rules    map[uint32]builtRules // of the planner
	compiled map[string]*compiledRules
	// usedTables are the numbers of the plan's subsets.
	usedTables map[uint32]bool
	used       map[uint32]bool // backend numbers of Present and of the plan
	next       uint32          // no lower backend number is free
	spare      spare
	partial    bool // an update: used lacks what Present has
	present    map[uint32]map[netip.AddrPort]uint32
	// named are, by backend number, what Present calls servers of QUIC, of the
	// services that are planned.
	named map[uint32]maps.QUICServer
}

// Plan returns what the maps shall hold. Numbers of services and backends stay
// as they are in Present, and a number that Present holds for something else
// is never given out. It fails if something does not fit into the maps, and
// then names the setting to raise.
func (p *Planner) Plan(in Input) (*Plan, error) {
	r := &round{Input: in, used: make(map[uint32]bool, len(in.Present.Backends)), next: 1, rules: p.rules, usedTables: map[uint32]bool{}, compiled: map[string]*compiledRules{}}
	r.plan.Contents = maps.Contents{
		VIPs:     make(map[maps.VIPKey]maps.VIP, len(in.Present.VIPs)),
		Services: make(map[uint32]maps.Service, len(in.Present.Services)),
		Tables:   make(map[uint32]maps.Table, len(in.Present.Tables)),
		Subsets:  map[uint32]maps.Subset{},
		Rules:    map[uint32]maps.Rules{},
		Backends: make(map[uint32]maps.Backend, len(in.Present.Backends)),
		Sources:  make(map[uint32]netip.Addr, len(in.Present.Sources)),
		Tunnels:  map[uint32]maps.Tunnel{},

		QUICServers: make(map[maps.QUICServer]uint32, len(in.Present.QUICServers)),
		Features:    map[uint32]maps.Features{},
	}
	r.plan.transitions, r.plan.inherited = map[uint32]transition{}, map[uint32]bool{}
	r.plan.standings = map[string]standing{}
	r.services = slices.Clone(in.Services)
	slices.SortFunc(r.services, func(a, b model.Service) int { return strings.Compare(a.Name, b.Name) })
	r.indexPresent()

	runs, err := r.placeSources()
	if err != nil {
		return nil, err
	}
	numbers, superseded, err := r.number()
	if err != nil {
		return nil, err
	}
	r.spare = r.spareOf(numbers)
	for _, s := range r.services {
		if err := r.addService(s, numbers[s.Name], runs); err != nil {
			return nil, err
		}
	}
	if err := p.buildTables(r); err != nil {
		return nil, err
	}
	r.retire(in.Present.Backends, superseded)
	r.addTunnels()
	if err := r.addVIPs(numbers); err != nil {
		return nil, err
	}
	r.warnOfLocalVIPs()
	p.keepRules(r)
	slices.Sort(r.plan.Warnings)
	return &r.plan, nil
}

// indexPresent notes which backend numbers are taken, and by whom.
func (r *round) indexPresent() {
	r.present = make(map[uint32]map[netip.AddrPort]uint32, len(r.Present.Services))
	for id, b := range r.Present.Backends {
		r.used[id] = true
		of := r.present[b.Service]
		if of == nil {
			of = map[netip.AddrPort]uint32{}
			r.present[b.Service] = of
		}
		if other, double := of[b.Address]; !double || id < other {
			of[b.Address] = id
		}
	}
	r.named = make(map[uint32]maps.QUICServer, len(r.Present.QUICServers))
	for q, id := range r.Present.QUICServers {
		r.named[id] = q
	}
	for _, t := range r.Present.Tables {
		for _, m := range t.Marked {
			r.used[m.Previous] = true
		}
	}
}

// backendNumber returns the number of a backend, a new one if it has none.
func (r *round) backendNumber(service uint32, address netip.AddrPort) (uint32, error) {
	if id, ok := r.present[service][address]; ok {
		return id, nil
	}
	for ; int(r.next) < r.Sizes.Backends; r.next++ {
		if _, there := r.Present.Backends[r.next]; !r.used[r.next] && !(r.partial && there) {
			r.used[r.next] = true
			return r.next, nil
		}
	}
	return 0, fmt.Errorf("more backends than the %d that the maps have room for, those with flows left included (raise max_backends and restart)",
		r.Sizes.Backends-1)
}

// addVIPs writes frontends and sources.
func (r *round) addVIPs(numbers map[string]uint32) error {
	vips := r.plan.Contents.VIPs
	bySource := make(map[netip.Addr]uint16, len(r.plan.Contents.Sources))
	for i := range r.Sizes.Sources {
		if a, ok := r.plan.Contents.Sources[uint32(i)]; ok {
			bySource[a] = uint16(i) + 1
			vips[maps.VIPKey{Address: a}] = maps.VIP{Source: uint16(i) + 1}
		}
	}
	frontends := 0
	for _, s := range r.services {
		for _, f := range s.Frontends {
			key := maps.VIPKey{Address: f.VIP, Port: f.Port, Protocol: f.Protocol}
			if v, double := vips[key]; double {
				return fmt.Errorf("frontend %s belongs to services number %d and %q", f, v.Service, s.Name)
			}
			vips[key] = maps.VIP{Service: numbers[s.Name], Source: bySource[f.VIP]}
			frontends++
		}
	}
	room, dnat := r.Sizes.Frontends-r.Sizes.Sources, r.addDNATBackends()
	switch {
	case frontends > room:
		return fmt.Errorf("%d frontends, but the maps have room for %d (raise max_frontends and restart)", frontends, room)
	case frontends+dnat > room:
		return fmt.Errorf("%d frontends and %d backends of dnat services, those with flows left included, but the maps have room for %d of both together (raise max_frontends and restart)", frontends, dnat, room)
	}
	return nil
}

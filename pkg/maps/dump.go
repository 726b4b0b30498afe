package maps

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/xlb-io/xlb/bpf"
)

// Info describes a map.
type Info struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	KeySize    uint32 `json:"key_size"`
	ValueSize  uint32 `json:"value_size"`
	MaxEntries uint32 `json:"max_entries"`
	// Entries in use, of those that [Set.Dump] shows; -1 if the map is not
	// made of entries one can count.
	Entries int `json:"entries"`
	// Bytes of memory, as the kernel accounts for them.
	Bytes uint64 `json:"bytes"`
}

// Dump is a map's content, decoded. Keys and values are Go values that encode
// to JSON with the words of the configuration.
type Dump struct {
	Map     string      `json:"map"`
	Entries []DumpEntry `json:"entries"`
}

// DumpEntry is one entry of a [Dump].
type DumpEntry struct {
	Key   any `json:"key"`
	Value any `json:"value"`
}

// dumpers are the maps as the command line shows them. The two maps of
// frontends are one to the user; what holds scratch space is not shown.
var dumpers = map[string]func(*Set) ([]DumpEntry, error){
	"vips":             (*Set).dumpVIPs,
	servicesName:       (*Set).dumpServices,
	tablesName:         (*Set).dumpTables,
	subsetsName:        (*Set).dumpSubsets,
	rulesName:          (*Set).dumpRules,
	serviceRatesName:   (*Set).dumpServiceRates,
	sourceRatesName:    (*Set).dumpSourceRates,
	serviceRefusedName: (*Set).dumpServiceRefused,
	backendsName:       (*Set).dumpBackends,
	sourcesName:        (*Set).dumpSources,
	tunnelsName:        (*Set).dumpTunnels,
	vlansName:          (*Set).dumpVLANs,
	featuresName:       (*Set).dumpFeatures,
	quicServersName:    (*Set).dumpQUICServers,
	affinitiesName:     (*Set).dumpAffinities,
	flowsName:          (*Set).dumpFlows,
	portsName:          (*Set).dumpPorts,
	nextHopsName:       (*Set).dumpNextHops,
	reasonsName:        (*Set).dumpReasons,
	eventsName:         (*Set).dumpEvents,
	serviceTrafficName: (*Set).dumpServiceTraffic,
	backendTrafficName: (*Set).dumpBackendTraffic,
	serviceOutcomeName: (*Set).dumpServiceOutcomes,
	backendOutcomeName: (*Set).dumpBackendOutcomes,
	serviceLoadsName:   (*Set).dumpServiceLoads,
	backendLoadsName:   (*Set).dumpBackendLoads,
	settingsName:       (*Set).dumpSettings,
	decisionsName:      (*Set).dumpDecisions,
	upcallsName:        (*Set).dumpUpcalls,
	heartbeatName:      (*Set).dumpHeartbeat,
	serviceUpcallsName: (*Set).dumpServiceUpcalls,
	sourceUpcallsName:  (*Set).dumpSourceUpcalls,
}

// Names are the maps that can be dumped, sorted.
func Names() []string {
	var names []string
	for n := range dumpers {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// Loadable are the maps that a dump can be written back to.
func Loadable() []string {
	return []string{backendsName, featuresName, quicServersName, rulesName, servicesName, sourcesName, subsetsName, tablesName, tunnelsName, "vips"}
}

// Dump returns a map's content. It fails if there is no such map.
func (s *Set) Dump(name string) (Dump, error) {
	dump, ok := dumpers[name]
	if !ok {
		return Dump{}, fmt.Errorf("no map %q (there are %s)", name, strings.Join(Names(), ", "))
	}
	entries, err := dump(s)
	if entries == nil {
		entries = []DumpEntry{}
	}
	return Dump{Map: name, Entries: entries}, err
}

// List describes every map.
func (s *Set) List() ([]Info, error) {
	var out []Info
	for _, name := range Names() {
		kernel := []string{name}
		if name == "vips" {
			kernel = []string{vips4Name, vips6Name}
		}
		info := Info{Name: name}
		for _, k := range kernel {
			if err := s.describe(k, &info); err != nil {
				return nil, err
			}
		}
		entries, err := s.countEntries(name)
		if err != nil {
			return nil, err
		}
		info.Entries = entries
		if name == "vips" { // the kernel counts buckets
			info.MaxEntries = 2 * s.layout.Frontends
		}
		out = append(out, info)
	}
	return out, nil
}

func (s *Set) describe(name string, info *Info) error {
	m := s.maps[name]
	i, err := m.Info()
	if err != nil {
		return fmt.Errorf("ask about map %s: %w", name, err)
	}
	info.Type = strings.ToLower(m.Type().String())
	info.KeySize = max(info.KeySize, m.KeySize())
	info.ValueSize = max(info.ValueSize, m.ValueSize())
	info.MaxEntries += m.MaxEntries()
	if bytes, ok := i.Memlock(); ok {
		info.Bytes += bytes
	}
	return nil
}

// countEntries counts without decoding what may have millions of entries.
func (s *Set) countEntries(name string) (int, error) {
	switch name {
	case flowsName:
		n := 0
		for range s.Flows() {
			n++
		}
		return n, nil
	case portsName:
		n := 0
		err := s.eachPort(func(uint32, uint32) { n++ })
		return n, err
	}
	d, err := s.Dump(name)
	return len(d.Entries), err
}

func (s *Set) dumpVIPs() ([]DumpEntry, error) {
	c := Contents{}.Clone()
	if err := s.readVIPs(&c); err != nil {
		return nil, err
	}
	return sorted(c.VIPs, CompareVIPKeys, func(v VIP) any { return v }), nil
}

func (s *Set) dumpServices() ([]DumpEntry, error) {
	c := Contents{}.Clone()
	err := s.readServices(&c)
	return sortedNumbers(c.Services, func(v Service) any { return serviceJSON(v) }), err
}

func (s *Set) dumpTables() ([]DumpEntry, error) {
	c := Contents{}.Clone()
	err := s.readTables(&c)
	return sortedNumbers(c.Tables, func(v Table) any { return v }), err
}

func (s *Set) dumpBackends() ([]DumpEntry, error) {
	c := Contents{}.Clone()
	err := s.readBackends(&c)
	return sortedNumbers(c.Backends, func(v Backend) any { return v }), err
}

func (s *Set) dumpSources() ([]DumpEntry, error) {
	c := Contents{}.Clone()
	err := s.readSources(&c)
	return sortedNumbers(c.Sources, func(v netip.Addr) any { return v }), err
}

func (s *Set) dumpFlows() ([]DumpEntry, error) {
	var out []DumpEntry
	for f := range s.Flows() {
		out = append(out, DumpEntry{
			Key: map[string]any{"client": f.Client, "vip": f.VIP, "protocol": f.Protocol},
			Value: map[string]any{
				"service": f.Service, "backend": f.Backend, "nat": f.NAT, "state": f.State,
				"idle_ms": f.Idle.Milliseconds(), "expires_ms": f.Expires.Milliseconds(),
			},
		})
	}
	return out, nil
}

func (s *Set) dumpPorts() ([]DumpEntry, error) {
	var out []DumpEntry
	err := s.eachPort(func(cell, owner uint32) {
		out = append(out, DumpEntry{Key: cell, Value: map[string]any{"flow_record": owner - 1}})
	})
	return out, err
}

func (s *Set) eachPort(f func(cell, owner uint32)) error {
	return eachArray(s.maps[portsName], portsName, func(line uint32, v bpf.PortLine) {
		for i, owner := range v.Cell {
			if owner != 0 {
				f(line*bpf.PortCells+uint32(i), owner)
			}
		}
	})
}

func (s *Set) dumpNextHops() ([]DumpEntry, error) {
	var out []DumpEntry
	now := now()
	m := s.maps[nextHopsName]
	for slot := range m.MaxEntries() {
		var perCPU []bpf.NextHop
		if err := m.Lookup(slot, &perCPU); err != nil {
			return nil, fmt.Errorf("read map %s, entry %d: %w", nextHopsName, slot, err)
		}
		for cpu, h := range perCPU {
			if h.Family == 0 {
				continue
			}
			out = append(out, DumpEntry{
				Key: map[string]any{"slot": slot, "cpu": cpu},
				Value: map[string]any{
					"address": decodeAddr(h.Address, h.Family == 6), "ingress": h.Ingress, "egress": h.Egress,
					"mtu": h.Mtu, "destination_mac": macString(h.Mac[:6]), "source_mac": macString(h.Mac[6:]),
					"via_gateway": h.ViaGateway != 0, "valid": int32(h.Expires-now) > 0,
				},
			})
		}
	}
	return out, nil
}

func macString(m []byte) string { return net.HardwareAddr(m).String() }

func (s *Set) dumpReasons() ([]DumpEntry, error) { return named(s.Reasons()) }
func (s *Set) dumpEvents() ([]DumpEntry, error)  { return named(s.Events()) }

func named(counts []NamedCount, err error) ([]DumpEntry, error) {
	var out []DumpEntry
	for _, c := range counts {
		out = append(out, DumpEntry{Key: c.Name, Value: c.Count})
	}
	return out, err
}

func (s *Set) dumpServiceTraffic() ([]DumpEntry, error) { return s.dumpTraffic(serviceTrafficName) }
func (s *Set) dumpBackendTraffic() ([]DumpEntry, error) { return s.dumpTraffic(backendTrafficName) }

// dumpTraffic leaves out the places that never counted anything.
func (s *Set) dumpTraffic(name string) ([]DumpEntry, error) {
	var out []DumpEntry
	for id := range s.maps[name].MaxEntries() {
		t, err := s.traffic(name, id)
		if err != nil {
			return nil, err
		}
		if t != (Traffic{}) {
			out = append(out, DumpEntry{Key: id, Value: t})
		}
	}
	return out, nil
}

func (s *Set) dumpQUICServers() ([]DumpEntry, error) {
	c := Contents{}.Clone()
	err := s.readQUICServers(&c)
	return sorted(c.QUICServers, CompareQUICServers, func(backend uint32) any { return backend }), err
}

func (s *Set) dumpAffinities() ([]DumpEntry, error) {
	var out []DumpEntry
	now := now()
	err := each(s.maps[affinitiesName], affinitiesName, func(k bpf.AffinityKey, v bpf.Affinity) {
		client := decodeAddr(k.Client, [12]byte(k.Client.Byte[:]) != [12]byte{}) // see struct addr
		out = append(out, DumpEntry{
			Key:   map[string]any{"client": client, "table": k.Table},
			Value: map[string]any{"backend": v.Backend, "age_ms": (time.Duration(max(0, int32(now-v.At))) * tick).Milliseconds()},
		})
	})
	return out, err
}

func (s *Set) dumpServiceLoads() ([]DumpEntry, error) { return s.dumpLoads(serviceLoadsName) }
func (s *Set) dumpBackendLoads() ([]DumpEntry, error) { return s.dumpLoads(backendLoadsName) }

// dumpLoads leaves out the places without a load.
func (s *Set) dumpLoads(name string) ([]DumpEntry, error) {
	var out []DumpEntry
	err := eachArray(s.maps[name], name, func(id uint32, l bpf.Load) {
		if l == (bpf.Load{}) {
			return
		}
		out = append(out, DumpEntry{Key: id, Value: map[string]any{
			"connections": l.Connections, "latency_ns": l.Latency, "cursor": l.Cursor,
		}})
	})
	return out, err
}

func (s *Set) dumpSettings() ([]DumpEntry, error) {
	sizes := s.Sizes()
	return []DumpEntry{{Key: 0, Value: map[string]any{
		"layout": s.layout.Version, "table_size": sizes.Table, "flow_table_size": sizes.Flows,
	}}}, nil
}

func sorted[K comparable, V any](m map[K]V, order func(K, K) int, show func(V) any) []DumpEntry {
	var keys []K
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, order)
	var out []DumpEntry
	for _, k := range keys {
		out = append(out, DumpEntry{Key: k, Value: show(m[k])})
	}
	return out
}

func sortedNumbers[V any](m map[uint32]V, show func(V) any) []DumpEntry {
	return sorted(m, func(a, b uint32) int { return int(int64(a) - int64(b)) }, show)
}

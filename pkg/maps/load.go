package maps

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// The longest dump that is read: a million tables' slots fit many times.
const maxDump = 1 << 30

// serviceJSON is a service with its timeouts as text such as "15m0s".
type serviceJSON Service

type serviceFields struct {
	Forward     model.Forward     `json:"forward"`
	Track       model.Track       `json:"track"`
	FirstSource uint16            `json:"first_source"`
	Sources     uint16            `json:"sources"`
	Timeouts    map[string]string `json:"timeouts"`
	Selection   Selection         `json:"selection,omitzero"`
	Outcomes    bool              `json:"outcomes,omitzero"`
	Retries     int               `json:"retries,omitzero"`
	// Of a service with policies; rates per second.
	OnOverload       model.OnOverload `json:"on_overload,omitzero"`
	Upcalls          uint32           `json:"upcalls,omitzero"`
	UpcallsPerSource uint32           `json:"upcalls_per_source,omitzero"`
	Ruled            bool             `json:"ruled,omitzero"`
	Limits           Limits           `json:"limits,omitzero"`
}

// timeoutFields are the configuration's names of a service's timeouts.
func timeoutFields(t *model.Timeouts) map[string]*time.Duration {
	return map[string]*time.Duration{
		"tcp_syn": &t.TCPSyn, "tcp_established": &t.TCPEstablished, "tcp_fin": &t.TCPFin,
		"tcp_closed": &t.TCPClosed, "udp": &t.UDP,
	}
}

// MarshalJSON implements [json.Marshaler].
func (s serviceJSON) MarshalJSON() ([]byte, error) {
	out := serviceFields{
		s.Forward, s.Track, s.FirstSource, s.Sources, map[string]string{}, s.Selection, s.Outcomes, s.Retries,
		s.Policy, s.Upcalls, s.UpcallsPerSource, s.Ruled, s.Limits,
	}
	for name, d := range timeoutFields(&s.Timeouts) {
		out.Timeouts[name] = d.String()
	}
	return json.Marshal(out)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (s *serviceJSON) UnmarshalJSON(b []byte) error {
	in := serviceFields{Track: model.TrackAuto}
	if err := strict(b, &in); err != nil {
		return err
	}
	if in.OnOverload == 0 && (in.Upcalls != 0 || in.UpcallsPerSource != 0) {
		return fmt.Errorf("upcalls without on_overload: the service has no policies to ask")
	}
	if in.Retries < 0 || in.Retries > model.MaxRetries || in.Retries > 0 && !(in.Outcomes && in.Forward.RewritesPorts()) {
		return fmt.Errorf("retries are 0 to %d, and only with outcomes and forward nat or dnat", model.MaxRetries)
	}
	*s = serviceJSON{
		Forward: in.Forward, Track: in.Track, FirstSource: in.FirstSource, Sources: in.Sources,
		Selection: in.Selection, Outcomes: in.Outcomes, Retries: in.Retries, Policy: in.OnOverload, Upcalls: in.Upcalls, UpcallsPerSource: in.UpcallsPerSource,
		Ruled: in.Ruled, Limits: in.Limits,
	}
	for name, d := range timeoutFields(&s.Timeouts) {
		text, ok := in.Timeouts[name]
		if !ok {
			return fmt.Errorf("timeouts lack %s", name)
		}
		v, err := time.ParseDuration(text)
		if err != nil || v < time.Second || v > 7*24*time.Hour || v%time.Second != 0 {
			return fmt.Errorf("timeout %s is %q (want whole seconds, 1s to 168h)", name, text)
		}
		*d = v
	}
	return nil
}

func strict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// rawDump is a [Dump] before its map's types are known.
type rawDump struct {
	Map     string     `json:"map"`
	Entries []rawEntry `json:"entries"`
}

type rawEntry struct {
	Key   json.RawMessage `json:"key"`
	Value json.RawMessage `json:"value"`
}

// ParseDump reads what [Dump] encodes to as JSON. The map must be one of
// [Loadable]. Errors say which entry is wrong.
func ParseDump(r io.Reader) (Dump, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxDump+1))
	if err != nil {
		return Dump{}, fmt.Errorf("read dump: %w", err)
	}
	if len(b) > maxDump {
		return Dump{}, fmt.Errorf("dump is larger than %d bytes", maxDump)
	}
	var raw rawDump
	if err := strict(b, &raw); err != nil {
		return Dump{}, fmt.Errorf("read dump: %w (want the output of `xlb map dump NAME --json`)", err)
	}
	parse, ok := entryParsers[raw.Map]
	if !ok {
		return Dump{}, fmt.Errorf("map %q cannot be loaded (only %s can: the others are the data plane's own)", raw.Map, strings.Join(Loadable(), ", "))
	}
	d := Dump{Map: raw.Map, Entries: []DumpEntry{}}
	seen := map[any]bool{}
	for i, e := range raw.Entries {
		entry, err := parse(e)
		if err != nil {
			return Dump{}, fmt.Errorf("dump of %s, entry %d: %w", raw.Map, i+1, err)
		}
		if seen[entry.Key] {
			return Dump{}, fmt.Errorf("dump of %s, entry %d: key %v stands twice", raw.Map, i+1, entry.Key)
		}
		seen[entry.Key] = true
		d.Entries = append(d.Entries, entry)
	}
	return d, nil
}

var entryParsers = map[string]func(rawEntry) (DumpEntry, error){
	"vips":          parseEntry[VIPKey, VIP],
	servicesName:    parseEntry[uint32, serviceJSON],
	tablesName:      parseEntry[uint32, Table],
	subsetsName:     parseEntry[uint32, Subset],
	rulesName:       parseEntry[RuleKey, ruleValue],
	backendsName:    parseEntry[uint32, Backend],
	sourcesName:     parseEntry[uint32, netip.Addr],
	tunnelsName:     parseEntry[uint32, Tunnel],
	quicServersName: parseEntry[QUICServer, uint32],
	featuresName:    parseEntry[uint32, Features],
}

func parseEntry[K, V any](raw rawEntry) (DumpEntry, error) {
	var k K
	var v V
	if err := strict(raw.Key, &k); err != nil {
		return DumpEntry{}, fmt.Errorf("key: %w", err)
	}
	if err := strict(raw.Value, &v); err != nil {
		return DumpEntry{}, fmt.Errorf("value: %w", err)
	}
	return DumpEntry{Key: k, Value: v}, nil
}

// Contents returns base with the dumped map in place of its own. The result is
// checked: everything that is referred to is there.
func (d Dump) Contents(base Contents) (Contents, error) {
	c := base.Clone()
	switch d.Map {
	case "vips":
		c.VIPs = entriesOf[VIPKey, VIP](d)
	case servicesName:
		c.Services = map[uint32]Service{}
		for k, v := range entriesOf[uint32, serviceJSON](d) {
			c.Services[k] = Service(v)
		}
	case tablesName:
		c.Tables = entriesOf[uint32, Table](d)
	case subsetsName:
		c.Subsets = entriesOf[uint32, Subset](d)
	case rulesName:
		c.Rules = rulesOf(d)
	case backendsName:
		c.Backends = entriesOf[uint32, Backend](d)
	case sourcesName:
		c.Sources = entriesOf[uint32, netip.Addr](d)
	case tunnelsName:
		c.Tunnels = entriesOf[uint32, Tunnel](d)
	case quicServersName:
		c.QUICServers = entriesOf[QUICServer, uint32](d)
	case featuresName:
		c.Features = entriesOf[uint32, Features](d)
	default:
		return Contents{}, fmt.Errorf("map %q cannot be loaded", d.Map)
	}
	return c, c.check()
}

func entriesOf[K comparable, V any](d Dump) map[K]V {
	out := map[K]V{}
	for _, e := range d.Entries {
		out[e.Key.(K)] = e.Value.(V)
	}
	return out
}

// check returns every reference that leads nowhere.
func (c Contents) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for k, v := range c.VIPs {
		if _, ok := c.Services[v.Service]; v.Service != 0 && !ok {
			bad("frontend %v names service %d, which is not there", k, v.Service)
		}
		if a, ok := c.Sources[uint32(v.Source)-1]; v.Source != 0 && (!ok || a != k.Address) {
			bad("address %v names source %d, which is not it", k.Address, v.Source-1)
		}
		if !k.Address.IsValid() || v.Service == 0 && v.Source == 0 && !v.DNATBackend {
			bad("frontend %v means nothing: neither a service nor a source nor a dnat backend", k)
		}
		if v.DNATBackend && !c.Features[0].DNAT {
			bad("%v is a dnat backend, but the feature dnat is off: its replies would pass by", k)
		}
	}
	for q, backend := range c.QUICServers {
		if b, ok := c.Backends[backend]; !ok || b.Service != q.Service {
			bad("%v is backend %d, which the service has not", q, backend)
		}
	}
	for i, t := range c.Tunnels {
		if err := t.check(i); err != nil {
			bad("tunnel %d: %w", i, err)
		}
	}
	for i, f := range c.Features {
		if i != 0 || f == (Features{}) {
			bad("features has the entry 0 alone, and only if something is on")
		}
	}
	for id, s := range c.Services {
		if id == 0 {
			bad("service 0 is reserved")
		}
		for i := range uint32(s.Sources) {
			if _, ok := c.Sources[uint32(s.FirstSource)+i]; !ok {
				bad("service %d draws from source %d, which is not there", id, uint32(s.FirstSource)+i)
			}
		}
	}
	for id, b := range c.Backends {
		if id == 0 || b.Service == 0 || !b.Address.IsValid() {
			bad("backend %d lacks a number, a service or an address", id)
		}
	}
	for id, t := range c.Tables {
		if _, ok := c.Services[id]; !ok && c.Subsets[id].Service == 0 {
			bad("table %d belongs to no service and no subset of one", id)
		}
		if err := t.checkMarks(); err != nil {
			bad("table %d: %w", id, err)
		}
		for _, n := range t.backends() {
			if _, ok := c.Backends[n]; n != 0 && !ok {
				bad("table %d names backend %d, which is not there", id, n)
			}
		}
	}
	errs = append(errs, c.checkRules()...)
	return errors.Join(errs...)
}

// checkRules is check for what rules refer to.
func (c Contents) checkRules() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for number, one := range c.Subsets {
		if _, ok := c.Services[one.Service]; !ok {
			bad("subset %d is of service %d, which is not there", number, one.Service)
		}
		if _, ok := c.Services[number]; ok {
			bad("subset %d has the number of a service", number)
		}
	}
	for id, s := range c.Services {
		if err := s.Limits.check(); err != nil {
			bad("service %d: %w", id, err)
		}
		if _, ok := c.Rules[id]; s.Ruled && !ok {
			bad("service %d has no rules, but asks them", id)
		}
	}
	for id, rules := range c.Rules {
		if err := rules.check(); err != nil {
			bad("rules of service %d: %w", id, err)
		}
		for _, r := range rules {
			if r.Table != 0 && c.Subsets[r.Table].Service != id {
				bad("rules of service %d send %s to table %d, which is no subset of it", id, r.Prefix, r.Table)
				break
			}
		}
	}
	return errs
}

package maps_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

var testSizes = maps.Sizes{Services: 9, Backends: 33, Frontends: 16, Sources: 4, Table: 251, Flows: 1024, Affinities: 128}

var compare = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

func newSet(t *testing.T, sizes maps.Sizes) *maps.Set {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("BPF maps need root")
	}
	s, err := maps.New(sizes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func sample() maps.Contents {
	addr, ap := netip.MustParseAddr, netip.MustParseAddrPort
	table := maps.Table{Present: make([]uint32, testSizes.Table)}
	for i := range table.Present {
		table.Present[i] = uint32(i%2 + 1)
		if i%3 == 0 {
			table.Marked = append(table.Marked, maps.Mark{Slot: uint32(i), Previous: uint32(i % 9 / 3)})
		}
	}
	minute := model.Timeouts{TCPSyn: time.Minute, TCPEstablished: time.Minute, TCPFin: time.Minute, TCPClosed: time.Minute, UDP: time.Minute}
	return maps.Contents{
		VIPs: map[maps.VIPKey]maps.VIP{
			{Address: addr("192.0.2.1"), Port: 443, Protocol: model.TCP}:   {Service: 1},
			{Address: addr("10.0.0.1"), Port: 53, Protocol: model.UDP}:     {Service: 2, Source: 1},
			{Address: addr("10.0.0.1")}:                                    {Source: 1},
			{Address: addr("2001:db8::1"), Port: 53, Protocol: model.UDP}:  {Service: 2},
			{Address: addr("2001:db8::2"), Port: 443, Protocol: model.TCP}: {Service: 1},
			{Address: addr("10.0.0.3"), Port: 443, Protocol: model.TCP}:    {DNATBackend: true},
			{Address: addr("2001:db8::3"), Port: 443, Protocol: model.UDP}: {Service: 2, DNATBackend: true},
		},
		Services: map[uint32]maps.Service{
			1: {Forward: model.NAT, Track: model.TrackAuto, FirstSource: 0, Sources: 2, Timeouts: model.Timeouts{
				TCPSyn: time.Second, TCPEstablished: 7 * 24 * time.Hour, TCPFin: 61 * time.Second, TCPClosed: 10 * time.Second, UDP: time.Hour}},
			2: {Forward: model.L2DSR, Track: model.TrackNever, Ruled: true, Timeouts: model.Timeouts{
				TCPSyn: 3 * time.Second, TCPEstablished: time.Hour, TCPFin: time.Minute, TCPClosed: time.Second, UDP: 59 * time.Second}},
			3: {Forward: model.DNAT, Track: model.TrackAlways, Timeouts: minute, Limits: maps.Limits{
				Rate: maps.Rate{PerSecond: 10_000_000, Burst: 1}, RatePerSource: maps.Rate{PerSecond: 1, Burst: 10_000_000},
				IPv4: 24, IPv6: 128, MaxConnections: 1 << 30}},
			4: {Forward: model.IPIP, Track: model.TrackAuto, Timeouts: minute,
				Policy: model.OverloadContinue, Upcalls: 976547, UpcallsPerSource: 14},
			5: {Forward: model.GUE, Track: model.TrackAlways, Timeouts: minute,
				Policy: model.OverloadDrop, Upcalls: 1013, UpcallsPerSource: 29},
		},
		Tables: map[uint32]maps.Table{1: table, 2: {Present: make([]uint32, testSizes.Table)}, 9: table},
		Subsets: map[uint32]maps.Subset{
			9:  {Service: 2, Tag: "canary", Zone: strings.Repeat("z", 63)},
			12: {Service: 1, Zone: "a"},
		},
		Rules: map[uint32]maps.Rules{2: {
			{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Verdict: model.NotAllowed},
			{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Table: 9},
			{Prefix: netip.MustParsePrefix("10.0.0.7/32"), Verdict: model.Denied},
			{Prefix: netip.MustParsePrefix("::/0")},
			{Prefix: netip.MustParsePrefix("2001:db8::/29"), Verdict: model.Denied},
			{Prefix: netip.MustParsePrefix("2001:db8::1/128"), Table: 9},
		}},
		Backends: map[uint32]maps.Backend{
			1: {Address: ap("10.0.0.2:80"), Service: 1, Serves: true},
			2: {Address: ap("[fd00::2]:8080"), Service: 1},
		},
		Sources: map[uint32]netip.Addr{0: addr("10.0.0.1"), 1: addr("10.0.0.9"), 2: addr("fd00::1")},
		Tunnels: map[uint32]maps.Tunnel{
			0: {Source: addr("10.9.0.0"), EntropyBits: 12, GUEPort: 6080},
			1: {Source: addr("fd00:1::"), EntropyBits: 32, GUEPort: 5555},
		},
		Features: map[uint32]maps.Features{0: {DNAT: true}},
	}
}

// What is written is what is read, and applying it again changes nothing.
func TestApplyRead(t *testing.T) {
	s, want := newSet(t, testSizes), sample()
	for _, step := range []maps.Contents{want, {}, want} {
		have, err := s.Read()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Apply(maps.Diff(have, step)); err != nil {
			t.Fatal(err)
		}
		got, err := s.Read()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(step, got, compare); d != "" {
			t.Fatalf("read differs (-want +got):\n%s", d)
		}
		if n := maps.Diff(got, step).Len(); n != 0 {
			t.Errorf("%d changes left after applying", n)
		}
	}
}

// What does not fit is an error that names the setting.
func TestApplyErrors(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*maps.Contents)
		want   string
	}{
		"backend":    {func(c *maps.Contents) { c.Backends[33] = c.Backends[1] }, "max_backends"},
		"service":    {func(c *maps.Contents) { c.Services[9] = c.Services[1] }, "max_services"},
		"source":     {func(c *maps.Contents) { c.Sources[4] = c.Sources[1] }, "max_sources"},
		"table size": {func(c *maps.Contents) { c.Tables[1] = maps.Table{Present: make([]uint32, 13)} }, "251"},
		"overload":   {func(c *maps.Contents) { c.Services[1] = maps.Service{Forward: model.NAT, Policy: 9} }, "mode of overload"},
		"forward":    {func(c *maps.Contents) { c.Services[1] = maps.Service{Forward: 9} }, "forwarding mode"},
		"track":      {func(c *maps.Contents) { c.Services[1] = maps.Service{Forward: model.NAT, Track: 9} }, "tracking mode"},
		"tunnel": {func(c *maps.Contents) {
			c.Tunnels[1] = maps.Tunnel{Source: netip.MustParseAddr("10.0.0.1"), GUEPort: 1}
		}, "1 is IPv6"},
		"dnat backends": {func(c *maps.Contents) {
			for i := range 17 {
				c.VIPs[maps.VIPKey{Address: netip.AddrFrom4([4]byte{1, 1, 1, byte(i)}), Port: 1, Protocol: model.TCP}] = maps.VIP{DNATBackend: true}
			}
		}, "no room for dnat backend"},
		"frontends": {func(c *maps.Contents) {
			for i := range 17 {
				c.VIPs[maps.VIPKey{Address: netip.AddrFrom4([4]byte{1, 1, 1, byte(i)}), Port: 1, Protocol: model.TCP}] = maps.VIP{Service: 1}
			}
		}, "max_frontends"},
	} {
		t.Run(name, func(t *testing.T) {
			s, want := newSet(t, testSizes), sample()
			c.change(&want)
			err := s.Apply(maps.Diff(maps.Contents{}, want))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}

// Every map can be dumped to JSON, and a loadable one comes back the same.
func TestDumpLoad(t *testing.T) {
	s, want := newSet(t, testSizes), sample()
	if err := s.Apply(maps.Diff(maps.Contents{}, want)); err != nil {
		t.Fatal(err)
	}
	loadable := map[string]bool{}
	for _, n := range maps.Loadable() {
		loadable[n] = true
	}
	for _, name := range maps.Names() {
		d, err := s.Dump(name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		parsed, err := maps.ParseDump(bytes.NewReader(text))
		if !loadable[name] {
			if err == nil {
				t.Errorf("%s: loaded, though it is the data plane's", name)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := parsed.Contents(want)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(want, got, compare); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	if _, err := s.Dump("nonsense"); err == nil || !strings.Contains(err.Error(), "backends") {
		t.Errorf("dump of an unknown map: %v", err)
	}
	infos, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		if i.Name == "backends" && (i.Entries != 2 || i.MaxEntries != 33 || i.Type != "array") {
			t.Errorf("backends are listed as %+v", i)
		}
	}
}

func TestParseDumpErrors(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{``, "read dump"},
		{`{"map":"backends","entries":[{"key":1,"value":{"address":"10.0.0.1","service":1,"serves":true}}]}`, "entry 1"},
		{`{"map":"backends","entries":[{"key":-1,"value":{}}]}`, "key"},
		{`{"map":"backends","entries":[{"key":1,"value":{"adress":"10.0.0.1:1"}}]}`, "adress"},
		{`{"map":"backends","entries":[{"key":1,"value":{"address":"10.0.0.1:1"}},{"key":1,"value":{"address":"10.0.0.1:1"}}]}`, "twice"},
		{`{"map":"flows","entries":[]}`, "cannot be loaded"},
		{`{"map":"vips","entries":[{"key":{"address":"10.0.0.1","port":80,"protocol":"sctp"},"value":{"service":1}}]}`, "sctp"},
		{`{"map":"services","entries":[{"key":1,"value":{"forward":"nat","track":"often","timeouts":{}}}]}`, "often"},
		{`{"map":"services","entries":[{"key":1,"value":{"forward":"nat","timeouts":{"udp":"1ms"}}}]}`, "timeout"},
		{`{"map":"services","entries":[{"key":1,"value":{"forward":"nat","upcalls":5,"timeouts":{}}}]}`, "no policies"},
		{`{"map":"services","entries":[{"key":1,"value":{"forward":"nat","on_overload":"wait","timeouts":{}}}]}`, "wait"},
	} {
		_, err := maps.ParseDump(strings.NewReader(c.in))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", c.in, err, c.want)
		}
	}
}

// A dump whose references lead nowhere is refused.
func TestDumpReferences(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"map":"backends","entries":[]}`, "names backend 1"},
		{`{"map":"services","entries":[]}`, "names service 1"},
		{`{"map":"sources","entries":[]}`, "draws from source 0"},
		{`{"map":"tables","entries":[{"key":1,"value":{"present":[1],"marked":[{"slot":0,"previous":7}]}}]}`, "names backend 7"},
		{`{"map":"tables","entries":[{"key":1,"value":{"present":[1],"marked":[{"slot":1,"previous":2}]}}]}`, "slot 1 is marked, of 1"},
		{`{"map":"tables","entries":[{"key":1,"value":{"present":[1,1],"marked":[{"slot":1,"previous":2},{"slot":0,"previous":2}]}}]}`, "ascending"},
		{`{"map":"vips","entries":[{"key":{"address":"10.0.0.7"},"value":{"source":1}}]}`, "names source 0"},
		{`{"map":"features","entries":[]}`, "replies would pass by"},
		{`{"map":"features","entries":[{"key":1,"value":{"dnat":true}}]}`, "entry 0 alone"},
		{`{"map":"tunnels","entries":[{"key":0,"value":{"source":"fd00::1","entropy_bits":0,"gue_port":6080}}]}`, "0 is IPv4"},
		{`{"map":"tunnels","entries":[{"key":0,"value":{"source":"10.0.0.1","entropy_bits":33,"gue_port":6080}}]}`, "33 bits"},
		{`{"map":"tunnels","entries":[{"key":0,"value":{"source":"10.0.0.1","entropy_bits":1,"gue_port":6080}}]}`, "are not 0"},
		{`{"map":"tunnels","entries":[{"key":0,"value":{"source":"10.0.0.1","entropy_bits":0,"gue_port":0}}]}`, "gue_port"},
		{`{"map":"rules","entries":[]}`, "service 2 has no rules"},
		{`{"map":"rules","entries":[{"key":{"service":2,"prefix":"10.0.0.1/8"},"value":{"verdict":"taken"}}]}`, "not a prefix"},
		{`{"map":"rules","entries":[{"key":{"service":2,"prefix":"10.0.0.0/8"},"value":{"verdict":"taken","table":12}}]}`, "no subset of it"},
		{`{"map":"rules","entries":[{"key":{"service":2,"prefix":"10.0.0.0/8"},"value":{"verdict":"denied","table":9}}]}`, "has a table"},
		{`{"map":"subsets","entries":[{"key":9,"value":{"service":8}}]}`, "of service 8"},
		{`{"map":"subsets","entries":[]}`, "no subset of it"},
	} {
		d, err := maps.ParseDump(strings.NewReader(c.in))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Contents(sample()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", c.in, err, c.want)
		}
	}
}

// A set of other sizes takes the contents over; tables keep their proportions.
func TestCopyFrom(t *testing.T) {
	old := newSet(t, testSizes)
	if err := old.Apply(maps.Diff(maps.Contents{}, sample())); err != nil {
		t.Fatal(err)
	}
	sizes := testSizes
	sizes.Table, sizes.Flows, sizes.Backends, sizes.Services = 509, 4096, 65, 20
	s := newSet(t, sizes)
	if err := s.CopyFrom(old); err != nil {
		t.Fatal(err)
	}
	got, err := s.Read()
	if err != nil {
		t.Fatal(err)
	}
	want := sample()
	if d := cmp.Diff(want.Backends, got.Backends, compare); d != "" {
		t.Errorf("backends (-want +got):\n%s", d)
	}
	if at := got.Rules[2][1].Table; at != 20 || got.Subsets[at] != want.Subsets[9] || got.Subsets[23] != want.Subsets[12] || len(got.Tables[at].Present) != 509 {
		t.Errorf("subsets %v, of which rule %v names one", got.Subsets, got.Rules[2][1])
	}
	share := map[uint32]int{}
	for _, b := range got.Tables[1].Present {
		share[b]++
	}
	if len(got.Tables[1].Present) != 509 || share[1] < 250 || share[2] < 250 {
		t.Errorf("table of %d slots with shares %v", len(got.Tables[1].Present), share)
	}
	for _, m := range got.Tables[1].Marked {
		if from := int(m.Slot) * 251 / 509; from%3 != 0 || int(m.Previous) != from%9/3 {
			t.Errorf("slot %d is marked with %d, it came from %d", m.Slot, m.Previous, from)
		}
	}
	if n := len(got.Tables[1].Marked); n < 509/3-2 || n > 509/3+2 {
		t.Errorf("%d of 509 slots are marked, want a third", n)
	}
}

func TestPinOpen(t *testing.T) {
	s := newSet(t, testSizes)
	dir := filepath.Join("/sys/fs/bpf", "xlb-maps-test")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := s.Pin(dir); err != nil {
		t.Skipf("no BPF file system: %v", err)
	}
	if err := s.Apply(maps.Diff(maps.Contents{}, sample())); err != nil {
		t.Fatal(err)
	}
	again, err := maps.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.Sizes() != testSizes {
		t.Errorf("sizes %+v, want %+v", again.Sizes(), testSizes)
	}
	got, err := again.Read()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sample(), got, compare); d != "" {
		t.Errorf("pinned contents (-want +got):\n%s", d)
	}
}

// BenchmarkApplyTable swaps one table, and many in one write.
func BenchmarkApplyTable(b *testing.B) {
	for _, n := range []int{1, 128} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, err := maps.New(maps.Sizes{Services: n + 1, Backends: 33, Frontends: 16, Sources: 4, Table: 65537, Flows: 1024})
			if err != nil {
				b.Skip(err)
			}
			defer s.Close()
			table := maps.Table{Present: make([]uint32, 65537)}
			var c maps.Changes
			for i := range n {
				c.Tables = append(c.Tables, maps.Change[uint32, maps.Table]{Key: uint32(i + 1), New: &table})
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Apply(c); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/table")
		})
	}
}

// Tables beyond one batch are swapped and removed like one.
func TestApplyManyTables(t *testing.T) {
	const n = 300
	s := newSet(t, maps.Sizes{Services: n + 1, Backends: n + 1, Frontends: 16, Sources: 4, Table: 13, Flows: 64})
	want := maps.Contents{}.Clone()
	for i := range uint32(n) {
		id := i + 1
		want.Services[id] = maps.Service{Forward: model.L2DSR, Track: model.TrackAuto}
		want.Backends[id] = maps.Backend{Address: netip.MustParseAddrPort("10.0.0.2:80"), Service: id, Serves: true}
		want.Tables[id] = maps.Table{Present: slices.Repeat([]uint32{id}, 13), Marked: []maps.Mark{{Slot: id % 13, Previous: id}}}
	}
	few := want.Clone()
	for id := range few.Tables {
		if id%40 == 0 {
			delete(few.Tables, id)
		}
	}
	have := maps.Contents{}
	for _, step := range []maps.Contents{want, few, want} {
		if err := s.Apply(maps.Diff(have, step)); err != nil {
			t.Fatal(err)
		}
		got, err := s.Read()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(step, got, compare); d != "" {
			t.Fatalf("read differs (-want +got):\n%s", d)
		}
		have = step
	}
	// One that cannot be written does not leave others half-done.
	bad := want.Clone()
	bad.Tables[7] = maps.Table{Present: make([]uint32, 12)}
	if err := s.Apply(maps.Diff(maps.Contents{}, bad)); err == nil || !strings.Contains(err.Error(), "service 7") {
		t.Errorf("error %v, want one that names service 7", err)
	}
}

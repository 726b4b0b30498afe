package main

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

var pinCount atomic.Int32

// needsKernel skips what needs real maps.
func needsKernel(t *testing.T) {
	t.Helper()
	var fs unix.Statfs_t
	if os.Geteuid() != 0 {
		t.Skip("needs root for BPF maps")
	}
	if unix.Statfs("/sys/fs/bpf", &fs) != nil || fs.Type != unix.BPF_FS_MAGIC {
		t.Skip("needs a BPF file system on /sys/fs/bpf")
	}
}

// testPinDir is a pin directory for one test, and that of the commands. There
// is no daemon.
func testPinDir(t *testing.T) string {
	t.Helper()
	dir := fmt.Sprintf("/sys/fs/bpf/xlb-test-%d-%d", os.Getpid(), pinCount.Add(1))
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	noDaemon(t)
	t.Setenv("XLB_PIN_DIR", dir)
	return dir
}

var (
	testGateway  = model.HardwareAddr{2, 0, 0, 0, 0, 1}
	testSettings = model.Settings{
		NextHop: model.NextHopGatewayMAC, GatewayMAC: testGateway, NATPorts: model.PortRange{First: 1024, Last: 2000},
		FlowTableSize: 4096, TableSize: 31, MaxServices: 8, MaxFrontends: 8, MaxBackends: 16, MaxSources: 4, AffinityTableSize: 1024,
	}
	testVIP = netip.MustParseAddrPort("203.0.113.10:80")
)

// testContents is one service "#1" with two backends that share the table.
func testContents() maps.Contents {
	table := make([]uint32, testSettings.TableSize)
	for i := range table {
		table[i] = uint32(1 + i%2)
	}
	return maps.Contents{
		VIPs: map[maps.VIPKey]maps.VIP{{Address: testVIP.Addr(), Port: 80, Protocol: model.TCP}: {Service: 1}},
		Services: map[uint32]maps.Service{1: {Forward: model.L2DSR, Track: model.TrackAlways, Timeouts: model.Timeouts{
			TCPSyn: 30 * time.Second, TCPEstablished: time.Hour, TCPFin: time.Minute, TCPClosed: 10 * time.Second, UDP: time.Minute}}},
		Tables:   map[uint32]maps.Table{1: {Present: table}},
		Backends: map[uint32]maps.Backend{1: {Address: web1, Service: 1, Serves: true}, 2: {Address: web2, Service: 1, Serves: true}},
	}
}

// pinned makes maps as a daemon leaves them behind: with contents and, if
// asked for, the flows of as many clients, each the doing of a real SYN.
func pinned(t *testing.T, clients int) (dir string) {
	t.Helper()
	needsKernel(t)
	dir = testPinDir(t)
	l, err := loader.Open(loader.Options{PinDir: dir, Settings: testSettings})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Maps().Apply(maps.Diff(maps.Contents{}, testContents())); err != nil {
		t.Fatal(err)
	}
	if clients == 0 {
		return dir
	}
	programs, err := loader.LoadPrograms(l.Maps(), testSettings)
	if err != nil {
		t.Fatal(err)
	}
	defer programs.Close()
	for i := range clients {
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), 40000)
		link := testlab.Ethernet{Src: testlab.MAC{2, 0, 0, 0, 0, 9}, Dst: testlab.MAC{2, 0, 0, 0, 0, 2}}
		packet := testlab.TCPPacket(link, client, testVIP, testlab.SYN, "")
		if _, err := programs.XDP.Run(&ebpf.RunOptions{Data: packet}); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// To load the data plane takes a second, so the tests share it.
func TestReadPinnedMaps(t *testing.T) {
	pinned(t, 20)
	t.Run("map ls", testMapList)
	t.Run("map dump", testMapDump)
	t.Run("flows", testFlowsFromMaps)
	t.Run("stats", testStatsFromMaps)
	t.Run("plan", testPlanAgainstPins)
}

func TestWritePinnedMaps(t *testing.T) {
	dir := pinned(t, 0)
	t.Run("map load", testMapLoad)
	t.Run("map load of a source", testMapLoadSource)
	t.Run("map load refuses", func(t *testing.T) { testMapLoadRefuses(t, dir) })
	t.Run("detach", func(t *testing.T) { testDetach(t, dir) })
}

func TestMapCommandsWithoutMaps(t *testing.T) {
	noDaemon(t)
	dir := os.Getenv("XLB_PIN_DIR")
	none := fmt.Sprintf("xlb: no maps are pinned under %s (has `xlb run` been started with this pin directory?): file does not exist", dir)
	xlb(t, "map", "ls").fails(t, exitFailed, none)
	xlb(t, "map", "dump", "backends").fails(t, exitFailed, none)
	xlb(t, "map", "dump", "bakends").fails(t, exitUsage, `xlb: there is no map "bakends" (did you mean backends?)`)
	xlb(t, "map", "dump").fails(t, exitUsage, `xlb: MAP is missing (usage: xlb map dump [OPTIONS] MAP)`)
	xlb(t, "map", "load", "flows", "-").fails(t, exitUsage, `xlb: map flows cannot be loaded: the data plane writes it (these can: backends, features, quic_servers, rules, services, sources, subsets, tables, tunnels, vips)`)
	xlb(t, "map", "load", "backends", "/nowhere").fails(t, exitUsage, `xlb: cannot read the dump: open /nowhere: no such file or directory`)
}

func testMapList(t *testing.T) {
	list := decode[[]maps.Info](t, xlb(t, "map", "ls", "--json").ok(t))
	entries := map[string]int{}
	for _, m := range list {
		entries[m.Name] = m.Entries
	}
	for name, want := range map[string]int{"backends": 2, "services": 1, "tables": 1, "vips": 1, "sources": 0, "flows": 20} {
		if entries[name] != want {
			t.Errorf("map %s has %d entries, want %d", name, entries[name], want)
		}
	}
	text := lines(xlb(t, "map", "ls").ok(t))
	if len(text) != len(list)+1 || !strings.HasPrefix(text[0], "MAP ") {
		t.Errorf("got\n%s", strings.Join(text, "\n"))
	}
}

func testMapDump(t *testing.T) {
	same(t, xlb(t, "map", "dump", "backends").ok(t), `
KEY  ADDRESS         SERVICE  SERVES
  1  10.0.0.11:8080        1  yes
  2  10.0.0.12:8080        1  yes
`)
	same(t, xlb(t, "map", "dump", "tables").ok(t), `
KEY  PRESENT
  1  31: 1×16 2×15
`)
	same(t, xlb(t, "map", "dump", "sources").ok(t), "map sources is empty")
	for _, name := range maps.Names() {
		if text := xlb(t, "map", "dump", name).ok(t); text == "" {
			t.Errorf("the dump of %s is silent", name)
		}
		if d := decode[maps.Dump](t, xlb(t, "map", "dump", name, "--json").ok(t)); d.Map != name || d.Entries == nil {
			t.Errorf("the JSON dump of %s: %+v", name, d)
		}
	}
}

func testFlowsFromMaps(t *testing.T) {
	flows := func(args ...string) (out []api.Flow) {
		for _, line := range lines(xlb(t, append([]string{"flows", "--json"}, args...)...).ok(t)) {
			if line != "" {
				out = append(out, decode[api.Flow](t, line))
			}
		}
		return out
	}
	all := flows()
	if len(all) != 20 || all[0].Service != "#1" || all[0].VIP != testVIP || all[0].State != "syn" || all[0].NAT != nil {
		t.Fatalf("flows: %+v", all)
	}
	to1 := len(slices.DeleteFunc(slices.Clone(all), func(f api.Flow) bool { return f.Backend != web1 }))
	for _, c := range []struct {
		args string
		want int
	}{
		{"--service #1", 20}, {"--service 1", 20}, {"--limit 3", 3}, {"--backend 10.0.0.11:8080", to1}, {"--backend 10.0.0.12", 20 - to1},
		{"--client 192.0.2.7", 1}, {"--client 192.0.2.0/29", 7}, {"--client 10.0.0.0/8", 0},
	} {
		if got := len(flows(strings.Fields(c.args)...)); got != c.want {
			t.Errorf("xlb flows %s: %d flows, want %d", c.args, got, c.want)
		}
	}
	if to1 == 0 || to1 == 20 {
		t.Errorf("%d of 20 flows have backend 1: the filter is not tested", to1)
	}
	xlb(t, "flows", "--service", "web").fails(t, exitFailed, `xlb: no daemon runs that knows the name "web" (without one, services go by number: --service '#1')`)
	xlb(t, "flows", "--service", "7").fails(t, exitFailed, `xlb: there is no service "7" (known: #1)`)
	if text := lines(xlb(t, "flows").ok(t)); len(text) != 21 {
		t.Errorf("the table has %d lines", len(text))
	}
}

func testStatsFromMaps(t *testing.T) {
	s := decode[api.Stats](t, xlb(t, "stats", "--json").ok(t))
	if len(s.Services) != 1 || s.Services[0].Request.Packets != 20 || s.Services[0].FlowsCreated != 20 || s.Services[0].Flows != 20 || len(s.Backends) != 2 {
		t.Errorf("%+v", s)
	}
	text := xlb(t, "stats", "--no-backends").ok(t)
	if !strings.Contains(text, "\n#1          20   20        20") {
		t.Errorf("got\n%s", text)
	}
	watched(t, env{}, "rates over", 1, "stats", "--watch", "100ms")
}

func testPlanAgainstPins(t *testing.T) {
	config := `interfaces: lo
next_hop: gateway-mac
gateway_mac: 02:00:00:00:00:01
flow_table_size: 4096
table_size: 31
max_services: 8
max_frontends: 8
max_backends: 16
max_sources: 4
affinity_table_size: 1024
services:
  web:
    frontends: tcp://203.0.113.10:80
    forward: l2dsr
    track: always
    timeouts: {tcp_syn: 30s, tcp_established: 1h, tcp_fin: 1m, tcp_closed: 10s, udp: 1m}
    backends: [10.0.0.11:80, 10.0.0.13:80]
`
	got := decode[planResult](t, xlb(t, "plan", "-c", writeFile(t, config), "--json").ok(t))
	if got.Against != againstPins || len(got.Warnings) != 0 {
		t.Errorf("%+v", got)
	}
	var kinds []string
	for _, c := range got.Changes {
		kinds = append(kinds, c.Action+" "+c.Kind+" "+c.Service)
	}
	// The backends of before have other ports; they stay for their flows.
	if want := []string{"add backend web", "add backend web", "change table web"}; !slices.Equal(kinds, want) {
		t.Errorf("changes %v, want %v", kinds, want)
	}
	other := decode[planResult](t, xlb(t, "plan", "-c", writeFile(t, strings.Replace(config, "4096", "8192", 1)), "--json").ok(t))
	if len(other.Warnings) != 1 || !strings.Contains(other.Warnings[0], "other sizes") {
		t.Errorf("%+v", other.Warnings)
	}
}

func testDetach(t *testing.T, dir string) {
	out := xlb(t, "detach").ok(t)
	if !strings.Contains(out, "removed pins under "+dir) {
		t.Errorf("got\n%s", out)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dir, err)
	}
	same(t, xlb(t, "detach").ok(t), "nothing is attached or pinned under "+dir)
	same(t, xlb(t, "detach", "--json").ok(t), "{\n  \"removed\": []\n}")
}

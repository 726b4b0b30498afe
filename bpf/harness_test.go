package bpf_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/loader"
	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// hook is one way to run the pipeline.
type hook struct {
	name     string
	program  func(*loader.Programs) *ebpf.Program
	context  func(p packet) any
	verdicts map[uint32]string
}

// Return values from linux/bpf.h and linux/pkt_cls.h. TC has one for
// redirecting, whatever the interface.
var (
	xdpHook = hook{
		"xdp", func(p *loader.Programs) *ebpf.Program { return p.XDP }, xdpContext,
		map[uint32]string{1: "drop", 2: "pass", 3: "tx", 4: "redirect"},
	}
	tcVerdicts = map[uint32]string{2: "drop", 0xffffffff: "pass", 7: "redirect"}
	tcHook     = hook{"tc", func(p *loader.Programs) *ebpf.Program { return p.TC }, skbContext, tcVerdicts}
	companion  = hook{"companion", func(p *loader.Programs) *ebpf.Program { return p.Companion }, skbContext, tcVerdicts}
)

// packet is a frame on its way in.
type packet struct {
	frame   []byte
	ingress string
	// segment is the payload of each of the frames that a super-packet will
	// be cut to; 0 for a plain packet. TC only.
	segment uint32
}

// xdpContext is struct xdp_md.
func xdpContext(p packet) any {
	return struct{ Data, DataEnd, DataMeta, Ingress, Queue, Egress uint32 }{
		DataEnd: uint32(len(p.frame)), Ingress: ifindex[p.ingress],
	}
}

// skbContext is struct __sk_buff.
func skbContext(p packet) any {
	const ifindexAt, segmentsAt, segmentAt = 40 / 4, 164 / 4, 176 / 4
	var skb [48]uint32
	skb[ifindexAt] = ifindex[p.ingress]
	if p.segment > 0 {
		skb[segmentsAt] = uint32(len(p.frame)) / p.segment
		skb[segmentAt] = p.segment
	}
	return skb
}

// plane is a loaded data plane and its maps.
type plane struct {
	set      *xlb.Set
	programs *loader.Programs
	held     xlb.Contents
	raw      map[string]*ebpf.Map
	hook     hook
}

func settings() model.Settings {
	return model.Settings{NextHop: model.NextHopFIB, NATPorts: model.PortRange{First: 1024, Last: 32767}}
}

func sizes() xlb.Sizes {
	return xlb.Sizes{Services: 8, Backends: 48, Frontends: 64, Sources: 8, Table: slots, Flows: 64, Affinities: 1024}
}

// planes are those loaded so far: the verifier takes a second for each.
var planes = map[string]*plane{}

// newPlane returns a data plane with these settings and sizes that holds w and
// no flows. Tests with the same ones share it.
func newPlane(t *testing.T, s model.Settings, z xlb.Sizes, w world) *plane {
	t.Helper()
	key := fmt.Sprintf("%+v %+v", s, z)
	p := planes[key]
	if p == nil {
		var err error
		if p, err = load(s, z); err != nil {
			t.Fatalf("%+v", err)
		}
		planes[key] = p
	}
	p.hold(t, w)
	p.forget(t)
	return p
}

func load(s model.Settings, z xlb.Sizes) (*plane, error) {
	set, err := xlb.New(z)
	if err != nil {
		return nil, err
	}
	p := &plane{set: set, raw: map[string]*ebpf.Map{}}
	if p.programs, err = loader.LoadPrograms(set, s); err == nil {
		err = p.open()
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// open gets at the maps whose records no other package shows.
func (p *plane) open() error {
	info, err := p.programs.XDP.Info()
	if err != nil {
		return err
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			return err
		}
		info, err := m.Info()
		if err != nil {
			return errors.Join(err, m.Close())
		}
		p.raw[info.Name] = m
	}
	return nil
}

func (p *plane) close() error {
	errs := []error{p.set.Close()}
	if p.programs != nil {
		errs = append(errs, p.programs.Close())
	}
	for _, m := range p.raw {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// hold makes the maps hold w, as the control plane would.
func (p *plane) hold(t *testing.T, w world) {
	t.Helper()
	if err := p.set.Apply(xlb.Diff(p.held, w.Contents)); err != nil {
		t.Fatal(err)
	}
	p.held = w.clone().Contents
}

// inside runs a subtest on a thread in the balancer's namespace.
func inside(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		if err := balancer.Do(func() error { f(t); return nil }); err != nil {
			t.Fatal(err)
		}
	})
}

// bothHooks runs a test once per hook, from the same contents and without flows.
func (p *plane) bothHooks(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	start := world{p.held}.clone()
	for _, h := range []hook{xdpHook, tcHook} {
		p.hook = h
		inside(t, h.name, func(t *testing.T) {
			p.hold(t, start)
			p.forget(t)
			f(t)
		})
	}
}

// forget empties the flow table.
func (p *plane) forget(t *testing.T) {
	t.Helper()
	for i := range p.raw["flows"].MaxEntries() {
		p.put(t, "flows", i, bpf.FlowSet{})
	}
	for i := range p.raw["ports"].MaxEntries() {
		p.put(t, "ports", i, bpf.PortLine{})
	}
}

func (p *plane) put(t *testing.T, name string, key uint32, value any) {
	t.Helper()
	if err := p.raw[name].Put(key, value); err != nil {
		t.Fatalf("write map %s: %v", name, err)
	}
}

// run sends a packet through the program.
func (p *plane) run(in packet) (verdict string, out []byte, err error) {
	options := &ebpf.RunOptions{Data: in.frame, DataOut: make([]byte, len(in.frame)+128), Context: p.hook.context(in)}
	code, err := p.hook.program(p.programs).Run(options)
	if err != nil {
		return "", nil, fmt.Errorf("run %s on %d bytes: %w", p.hook.name, len(in.frame), err)
	}
	return p.hook.verdicts[code], options.DataOut, nil
}

// want is what is to become of a packet, and all that is to be counted.
type want struct {
	reason string
	// out makes the frame that leaves, asked after it left; nil: the one
	// that came.
	out func() []byte
	// verdict, if it is not the one that the reason's name says.
	verdict          string
	service, backend uint32
	reply            bool
	events           []string
	// begun: counted as a flow although none is recorded.
	begun bool
	// outcomes are counted for service and backend; "NAME@7" for backend 7.
	outcomes []string
}

// expect sends a packet and compares everything. It returns what left.
func (p *plane) expect(t *testing.T, in packet, w want) []byte {
	t.Helper()
	before := p.counters(t)
	verdict, out, err := p.run(in)
	if err != nil {
		t.Fatal(err)
	}
	p.compare(t, before, w.counters(len(in.frame)))
	if v := w.verdictOn(p.hook); v != verdict {
		t.Errorf("verdict %q, want %q", verdict, v)
	}
	left := in.frame
	if w.out != nil {
		left = w.out()
	}
	if diff := testlab.Diff(left, out); diff != "" {
		t.Errorf("packet that left:\n%s", diff)
	}
	return out
}

// compare compares what the counters moved by with what they should have.
func (p *plane) compare(t *testing.T, before, want map[string]uint64) {
	t.Helper()
	moved := p.counters(t)
	for name, n := range before {
		if moved[name] -= n; moved[name] == 0 {
			delete(moved, name)
		}
	}
	if diff := cmp.Diff(want, moved); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

func (w want) verdictOn(h hook) string {
	v := w.verdict
	if v == "" {
		v, _, _ = strings.Cut(w.reason, "_")
	}
	if v == "tx" && h.name != xdpHook.name {
		return "redirect"
	}
	return v
}

// flow finds the one live flow of a client and frontend.
func (p *plane) flow(t *testing.T, client, vip netip.AddrPort, protocol model.Protocol) xlb.Flow {
	t.Helper()
	var found []xlb.Flow
	for f := range p.set.Flows() {
		if f.Client == client && f.VIP == vip && f.Protocol == protocol {
			found = append(found, f)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%v to %v has %d flows: %+v", client, vip, len(found), found)
	}
	return found[0]
}

func (p *plane) flowCount() int {
	n := 0
	for range p.set.Flows() {
		n++
	}
	return n
}

// records visits every record of the flow table by its number, and writes back
// what change changed.
func (p *plane) records(t *testing.T, change func(number uint32, f *bpf.Flow)) {
	t.Helper()
	for i := range p.raw["flows"].MaxEntries() {
		var s bpf.FlowSet
		if err := p.raw["flows"].Lookup(i, &s); err != nil {
			t.Fatal(err)
		}
		before := s
		for w := range s.Way {
			change(i*bpf.FlowWays+uint32(w), &s.Way[w])
		}
		if s != before {
			p.put(t, "flows", i, s)
		}
	}
}

// age makes every flow look as if d had passed since its last packet.
func (p *plane) age(t *testing.T, d time.Duration) {
	t.Helper()
	p.records(t, func(_ uint32, f *bpf.Flow) {
		if f.Tuple != 0 {
			f.Meta = f.Meta&^0xffffffff | uint64(uint32(f.Meta)-uint32(d>>20))
		}
	})
}

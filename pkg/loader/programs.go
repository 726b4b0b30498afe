package loader

import (
	"errors"
	"fmt"
	gomaps "maps"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// Programs are the data plane's entries, loaded and bound to one set of maps.
type Programs struct {
	XDP *ebpf.Program
	// Generic is XDP for socket buffers.
	Generic *ebpf.Program
	// TC works alone; Companion finishes what XDP hands over.
	TC, Companion *ebpf.Program

	probe  *ebpf.Program // see LoadProbe
	inject *ebpf.Program // see Injector
}

// part is one entry: which object it is in and what it is set to.
type part struct {
	at        func(*Programs) **ebpf.Program
	spec      func() (*ebpf.CollectionSpec, error)
	name      string
	companion bool
	// linear: the kernel makes packets linear first. For a program that takes
	// fragments it does not in generic mode, and what that passes then reaches
	// TC without its end (seen with Linux 6.18).
	linear bool
}

var (
	partProbe     = part{func(p *Programs) **ebpf.Program { return &p.probe }, bpf.LoadTc, "xlb_probe", false, false}
	partInject    = part{func(p *Programs) **ebpf.Program { return &p.inject }, bpf.LoadTc, "xlb_inject", false, false}
	partXDP       = part{func(p *Programs) **ebpf.Program { return &p.XDP }, bpf.LoadXdp, "xlb_xdp", false, false}
	partGeneric   = part{func(p *Programs) **ebpf.Program { return &p.Generic }, bpf.LoadXdp, "xlb_xdp", false, true}
	partTC        = part{func(p *Programs) **ebpf.Program { return &p.TC }, bpf.LoadTc, "xlb_tc", false, false}
	partCompanion = part{func(p *Programs) **ebpf.Program { return &p.Companion }, bpf.LoadTc, "xlb_tc", true, false}
)

// LoadPrograms loads the whole data plane with the given settings onto set. It
// attaches nothing. Errors carry the verifier's log: print them with %+v.
func LoadPrograms(set *maps.Set, s model.Settings) (*Programs, error) {
	l := programLoader{set: set, settings: s}
	for _, part := range []part{partXDP, partGeneric, partTC, partCompanion} {
		if _, err := l.get(part); err != nil {
			l.programs.Close()
			return nil, err
		}
	}
	return &l.programs, nil
}

// LoadProbe loads the program that, at the egress of lo, sends the packets with a
// [ProbeMark] to the backend that it names, as if they had come in by an
// interface.
func LoadProbe(set *maps.Set, s model.Settings, ingress *netlink.LinkAttrs) (*ebpf.Program, error) {
	l := programLoader{set: set, settings: s, probe: ingress}
	return l.get(partProbe)
}

// programLoader loads entries when they are first needed: the verifier takes
// half a second for each.
type programLoader struct {
	set      *maps.Set
	settings model.Settings
	programs Programs
	// probe is the interface in whose place partProbe looks for routes.
	probe *netlink.LinkAttrs
}

func (l *programLoader) get(p part) (*ebpf.Program, error) {
	at := p.at(&l.programs)
	if *at != nil {
		return *at, nil
	}
	spec, err := p.spec()
	if err == nil {
		*at, err = l.load(spec, p)
	}
	if err != nil {
		return nil, fmt.Errorf("load program %s: %w", p.name, err)
	}
	return *at, nil
}

func (l *programLoader) load(spec *ebpf.CollectionSpec, p part) (*ebpf.Program, error) {
	// An object may hold others too.
	gomaps.DeleteFunc(spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return name != p.name })
	if p.linear {
		spec.Programs[p.name].Flags &^= unix.BPF_F_XDP_HAS_FRAGS
	}
	replace, err := l.set.Bind(spec)
	if err != nil {
		return nil, err
	}
	var probe netlink.LinkAttrs
	if l.probe != nil {
		probe = *l.probe
	}
	s := l.settings
	for name, value := range map[string]any{
		"nat_port_first": s.NATPorts.First,
		"nat_port_last":  s.NATPorts.Last,
		"fixed_gateway":  boolean(s.NextHop == model.NextHopGatewayMAC),
		"gateway_mac":    [6]byte(s.GatewayMAC),
		"companion":      boolean(p.companion),
		"probe_ingress":  uint32(probe.Index),
		"probe_mac":      macOf(probe),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replace})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.DetachProgram(p.name), nil
}

// macOf is zero for an interface without Ethernet.
func macOf(a netlink.LinkAttrs) (mac [6]byte) {
	if len(a.HardwareAddr) == len(mac) {
		copy(mac[:], a.HardwareAddr)
	}
	return mac
}

func boolean(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// Close closes the descriptors; attached programs stay attached.
func (p *Programs) Close() error {
	var errs []error
	for _, prog := range []*ebpf.Program{p.XDP, p.Generic, p.TC, p.Companion, p.probe, p.inject} {
		if prog != nil {
			errs = append(errs, prog.Close())
		}
	}
	return errors.Join(errs...)
}

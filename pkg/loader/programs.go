package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// Programs are the data plane's entries, loaded and bound to one set of maps.
type Programs struct {
	XDP *ebpf.Program
	// TC works alone; Companion finishes what XDP hands over.
	TC, Companion *ebpf.Program
}

// LoadPrograms loads the data plane with the given settings onto set. It
// attaches nothing. Errors carry the verifier's log: print them with %+v.
func LoadPrograms(set *maps.Set, s model.Settings) (*Programs, error) {
	p := &Programs{}
	for _, part := range []struct {
		to        **ebpf.Program
		spec      func() (*ebpf.CollectionSpec, error)
		name      string
		companion uint8
	}{
		{&p.XDP, bpf.LoadXdp, "xlb_xdp", 0},
		{&p.TC, bpf.LoadTc, "xlb_tc", 0},
		{&p.Companion, bpf.LoadTc, "xlb_tc", 1},
	} {
		spec, err := part.spec()
		if err == nil {
			*part.to, err = loadProgram(spec, part.name, set, s, part.companion)
		}
		if err != nil {
			p.Close()
			return nil, fmt.Errorf("load program %s: %w", part.name, err)
		}
	}
	return p, nil
}

func loadProgram(spec *ebpf.CollectionSpec, name string, set *maps.Set, s model.Settings, companion uint8) (*ebpf.Program, error) {
	replace, err := set.Bind(spec)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]any{
		"nat_port_first": s.NATPorts.First,
		"nat_port_last":  s.NATPorts.Last,
		"fixed_gateway":  boolean(s.NextHop == model.NextHopGatewayMAC),
		"gateway_mac":    [6]byte(s.GatewayMAC),
		"companion":      companion,
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
	return c.DetachProgram(name), nil
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
	for _, prog := range []*ebpf.Program{p.XDP, p.TC, p.Companion} {
		if prog != nil {
			errs = append(errs, prog.Close())
		}
	}
	return errors.Join(errs...)
}

package policy

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// BackendState is what a policy is told of a backend.
type BackendState uint8

// The states; their numbers are the ABI's.
const (
	StateUnknown BackendState = iota
	StateUp
	StateDown
	StateDraining
)

// WeighInput is a backend as a policy sees it.
type WeighInput struct {
	Address netip.AddrPort
	State   BackendState
	Weight  uint16
	// Tier is its priority.
	Tier uint8
	Zone string
	Tags model.Tags
	// Latency is that of its probes, smoothed; 0: not known.
	Latency time.Duration
	// Flows live now, and counts since the daemon began: all flows, failed probes.
	Flows, FlowsTotal, ErrorsTotal uint64
}

// Leave is the weight or tier of a backend that the policy leaves as it is.
const Leave = -1

// WeighOutput is what a policy says of a backend.
type WeighOutput struct {
	// Weight is 0 to 65535, Tier 0 to 255; or Leave.
	Weight, Tier int
	// Eject: it takes no new flows.
	Eject  bool
	Reason uint16
}

const (
	recordSize = 96
	// maxBackends is the most that can be asked about at once.
	maxBackends = 65536
)

// Weigh asks about a service's backends. They are given to the module in the order
// of address, whatever their order here; the answers are in the order of the
// question. An answer of which any part is wrong is an error and nothing of it is
// returned. Calls wait for each other; each takes the policy's timeout at most.
func (p *Policy) Weigh(ctx context.Context, in []WeighInput) (out []WeighOutput, err error) {
	err = p.guardedCall(ctx, HookWeigh, func(ctx context.Context) error {
		p.control.Lock()
		defer p.control.Unlock()
		ctx, cancel := p.within(ctx)
		defer cancel()
		out, err = p.weigh(ctx, in)
		p.dropControl(err)
		return err
	})
	return out, err
}

func (p *Policy) weigh(ctx context.Context, in []WeighInput) ([]WeighOutput, error) {
	if len(in) > maxBackends {
		return nil, fmt.Errorf("%d backends, at most %d can be asked about", len(in), maxBackends)
	}
	instance, err := p.controlled(ctx)
	if err != nil {
		return nil, err
	}
	order := byAddress(in)
	size := len(in) * recordSize
	for _, b := range in {
		size += len(b.Zone) + len(b.Tags)
	}
	pointer, memory, err := instance.alloc(ctx, max(size, 8))
	if err != nil {
		return nil, err
	}
	writeRecords(memory, uint32(pointer), in, order)
	code, err := instance.call(ctx, "weigh", pointer, uint64(len(in)), uint64(size))
	if err != nil {
		return nil, err
	}
	instance.look()
	if code != 0 {
		return nil, fmt.Errorf("error %d", uint32(code))
	}
	// The memory may have been moved when it grew.
	answer, ok := instance.read(pointer, uint32(len(in)*recordSize))
	if !ok {
		return nil, instance.outside(pointer, uint64(size))
	}
	return readRecords(answer, in, order)
}

// byAddress returns the places of in, in the order of address.
func byAddress(in []WeighInput) []int {
	order := make([]int, len(in))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return in[a].Address.Compare(in[b].Address) })
	return order
}

// writeRecords writes a record for each backend and, behind them, their texts. The
// memory is the module's at pointer.
func writeRecords(memory []byte, pointer uint32, in []WeighInput, order []int) {
	clear(memory)
	texts := len(in) * recordSize
	text := func(s string, at []byte) {
		copy(memory[texts:], s)
		binary.LittleEndian.PutUint32(at, pointer+uint32(texts))
		binary.LittleEndian.PutUint32(at[4:], uint32(len(s)))
		texts += len(s)
	}
	le := binary.LittleEndian
	for i, from := range order {
		b, r := &in[from], memory[i*recordSize:][:recordSize]
		a := b.Address.Addr().As16()
		copy(r, a[:])
		le.PutUint16(r[16:], b.Address.Port())
		r[18] = byte(b.State)
		le.PutUint32(r[20:], uint32(b.Weight))
		le.PutUint32(r[24:], uint32(b.Tier))
		text(b.Zone, r[28:])
		text(string(b.Tags), r[36:])
		le.PutUint64(r[48:], uint64(b.Latency))
		le.PutUint64(r[56:], b.Flows)
		le.PutUint64(r[64:], b.FlowsTotal)
		le.PutUint64(r[72:], b.ErrorsTotal)
		le.PutUint64(r[80:], ^uint64(0)) // weight and tier: leave
	}
}

func readRecords(memory []byte, in []WeighInput, order []int) ([]WeighOutput, error) {
	out := make([]WeighOutput, len(in))
	for i, to := range order {
		o, err := readAnswer(memory[i*recordSize:][:recordSize])
		if err != nil {
			return nil, fmt.Errorf("backend %s: %w", in[to].Address, err)
		}
		out[to] = o
	}
	return out, nil
}

func readAnswer(r []byte) (WeighOutput, error) {
	le := binary.LittleEndian
	weight, tier := int(int32(le.Uint32(r[80:]))), int(int32(le.Uint32(r[84:])))
	eject, reason := le.Uint32(r[88:]), le.Uint32(r[92:])
	switch {
	case weight < Leave || weight > 0xffff:
		return WeighOutput{}, fmt.Errorf("weight %d, of -1 to 65535", weight)
	case tier < Leave || tier > 0xff:
		return WeighOutput{}, fmt.Errorf("tier %d, of -1 to 255", tier)
	case eject > 1:
		return WeighOutput{}, fmt.Errorf("eject is %d, of 0 and 1", eject)
	case reason > 0xffff:
		return WeighOutput{}, fmt.Errorf("reason %d, of 0 to 65535", reason)
	}
	return WeighOutput{Weight: weight, Tier: tier, Eject: eject == 1, Reason: uint16(reason)}, nil
}

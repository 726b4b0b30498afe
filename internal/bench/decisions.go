package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// Decisions is what it costs that a daemon's policy decides on new flows, by one
// hook. Client, balancer, daemon and backend share the machine.
type Decisions struct {
	// Attach is "native" or "tc".
	Attach string `json:"attach"`
	// PerSecond is how many new flows a second were recorded as a policy decided, of
	// SYNs in bursts, each sent when the one before was decided.
	PerSecond float64 `json:"per_second"`
	// PlainP50US and PlainP99US are times of connects, in microseconds, to a service
	// without policies; AskedP50US and AskedP99US to one with a policy.
	PlainP50US float64 `json:"plain_p50_us"`
	PlainP99US float64 `json:"plain_p99_us"`
	AskedP50US float64 `json:"asked_p50_us"`
	AskedP99US float64 `json:"asked_p99_us"`
	// AddedP50US and AddedP99US are the differences.
	AddedP50US float64 `json:"added_p50_us"`
	AddedP99US float64 `json:"added_p99_us"`
}

// continues is a module whose flow hook says continue:
//
//	(module
//	  (func (export "xlb_abi_version") (result i32) i32.const 1)
//	  (func (export "flow") (param i64 i64 i64 i64 i32 i32 i32 i32 i64 i32) (result i64)
//	    i64.const 0))
var continues = []byte("\x00asm\x01\x00\x00\x00" +
	"\x01\x13\x02\x60\x00\x01\x7f\x60\x0a\x7e\x7e\x7e\x7e\x7f\x7f\x7f\x7f\x7e\x7f\x01\x7e" +
	"\x03\x03\x02\x00\x01" +
	"\x07\x1a\x02\x0fxlb_abi_version\x00\x00\x04flow\x00\x01" +
	"\x0a\x0b\x02\x04\x00\x41\x01\x0b\x04\x00\x42\x00\x0b")

// The parts of a measurement.
const (
	connects  = 2000
	burst     = 128 // fits the ring of a veth that runs XDP, which has 256 places
	burstTime = 2 * time.Second
)

// decide measures at one hook.
func decide(ctx context.Context, attach string, quick bool) (d Decisions, err error) {
	s, err := newDecisionSite(ctx, attach)
	if err != nil {
		return d, fmt.Errorf("decisions at %s: %w", attach, err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	count, long := connects, burstTime
	if quick {
		count, long = connects/10, burstTime/10
	}
	plain, asked, err := s.connect(ctx, count)
	if err != nil {
		return d, fmt.Errorf("decisions at %s: %w", attach, err)
	}
	d = Decisions{
		Attach:     attach,
		PlainP50US: quantile(plain, 0.5), PlainP99US: quantile(plain, 0.99),
		AskedP50US: quantile(asked, 0.5), AskedP99US: quantile(asked, 0.99),
	}
	d.AddedP50US, d.AddedP99US = tenths(d.AskedP50US-d.PlainP50US), tenths(d.AskedP99US-d.PlainP99US)
	if d.PerSecond, err = s.bursts(ctx, long); err != nil {
		return d, fmt.Errorf("decisions at %s: %w", attach, err)
	}
	return d, nil
}

// connect times connects to both services in turns.
func (s *decisionSite) connect(ctx context.Context, count int) (plain, asked []time.Duration, err error) {
	decided, err := s.event(ctx, "decided")
	if err != nil {
		return nil, nil, err
	}
	for i := range 2 * count {
		to, times := s.plain, &plain
		if i%2 == 1 {
			to, times = s.asked, &asked
		}
		begin := time.Now()
		conn, err := s.net.Client.Dial(ctx, "tcp", to.String())
		if err != nil {
			return nil, nil, err
		}
		*times = append(*times, time.Since(begin))
		conn.Close()
	}
	now, err := s.event(ctx, "decided")
	if err == nil && now-decided != uint64(count) {
		err = fmt.Errorf("%d of %d connections were decided by the policy", now-decided, count)
	}
	return plain, asked, err
}

// bursts sends SYNs of new flows for a time, and returns how many a second were
// decided.
func (s *decisionSite) bursts(ctx context.Context, long time.Duration) (float64, error) {
	before, err := s.event(ctx, "decided")
	if err != nil {
		return 0, err
	}
	begin, sent := time.Now(), uint64(0)
	for time.Since(begin) < long {
		for range burst {
			if err := s.syn(uint32(sent)); err != nil {
				return 0, err
			}
			sent++
		}
		if err := s.decided(ctx, before+sent); err != nil {
			return 0, err
		}
	}
	return float64(sent) / time.Since(begin).Seconds(), nil
}

// syn sends the first packet of the i-th flow.
func (s *decisionSite) syn(i uint32) error {
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18 | byte(i>>16&1), byte(i >> 8), byte(i)}), uint16(1024+i%60000))
	frame := testlab.TCPPacket(s.ethernet, from, s.asked, testlab.SYN, "")
	for {
		// A full queue takes no more for a moment.
		if err := s.wire.Send(frame); !errors.Is(err, unix.ENOBUFS) {
			return err
		}
	}
}

// decided waits until so many flows were.
func (s *decisionSite) decided(ctx context.Context, want uint64) error {
	for deadline := time.Now().Add(5 * time.Second); ; {
		got, err := s.event(ctx, "decided")
		switch {
		case err != nil || got >= want:
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("of %d flows %d were decided within 5 s", want, got)
		}
	}
}

// event is a counter of the data plane.
func (s *decisionSite) event(ctx context.Context, name string) (uint64, error) {
	stats, err := s.client.Stats(ctx, api.StatsFilter{NoBackends: true})
	if err != nil {
		return 0, err
	}
	for _, c := range stats.Events {
		if c.Name == name {
			return c.Packets, nil
		}
	}
	return 0, fmt.Errorf("the data plane has no counter %q", name)
}

// quantile is in microseconds.
func quantile(times []time.Duration, q float64) float64 {
	slices.Sort(times)
	return tenths(float64(times[int(q*float64(len(times)-1))]) / 1000)
}

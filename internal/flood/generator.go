package flood

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

// traffic is what a generator sends.
type traffic struct {
	to       netip.AddrPort
	protocol model.Protocol
	flags    testlab.TCPFlags
	// flows take turns; 0: each frame begins one.
	flows int
}

// generator sends one kind of traffic into a bed.
type generator struct {
	bed        *bed
	traffic    traffic
	collection *ebpf.Collection
	frame      []byte
	cpus       []int
	// from is where the next new flow's number begins.
	from uint32
	// softirqs are the CPUs' schedstat files of ksoftirqd.
	softirqs map[int]string
	// busy is the time that each CPU took, the last time.
	busy []time.Duration
	// rate is each CPU's last one, in frames a second.
	rate float64
}

// newGenerator loads the generator for traffic that these CPUs send.
func newGenerator(b *bed, t traffic, cpus []int, softirqs map[int]string) (*generator, error) {
	spec, err := loadFlood()
	if err != nil {
		return nil, fmt.Errorf("read compiled programs: %w", err)
	}
	for name := range spec.Programs {
		if name != "generate" {
			delete(spec.Programs, name)
		}
	}
	frame := t.build()
	var words [8]uint64
	for i := range words {
		words[i] = binary.NativeEndian.Uint64(frame[8*i:])
	}
	checkAt := uint32(14 + 20 + 16)
	if t.protocol == model.UDP {
		checkAt = 14 + 20 + 6
	}
	first := firstClient.As4()
	for name, value := range map[string]any{
		"frame": words, "transport_check_at": checkAt, "first_address": binary.BigEndian.Uint32(first[:]),
		"flows": uint32(t.flows), "stride": uint32(len(cpus)), "egress": uint32(b.sourceIndex),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("load the generator: %w", err)
	}
	return &generator{bed: b, traffic: t, collection: c, frame: frame, cpus: cpus, softirqs: softirqs, busy: make([]time.Duration, len(cpus))}, nil
}

// build is a frame of 64 bytes whose sender has address and port 0.
func (t traffic) build() []byte {
	const size = 64
	from := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	l := testlab.Ethernet{Dst: testlab.MAC(inMAC), Src: testlab.MAC{2, 0, 0, 0, 0, 9}}
	if t.protocol == model.UDP {
		return testlab.UDPPacket(l, from, t.to, string(make([]byte, size-14-20-8)))
	}
	return testlab.TCPPacket(l, from, t.to, t.flags, string(make([]byte, size-14-20-20)))
}

func (g *generator) close() { g.collection.Close() }

// place is struct generator of flood.bpf.c.
type place struct {
	Sent    uint64
	Next, _ uint32
}

// begin sets each CPU's first flow and forgets what was sent.
func (g *generator) begin() error {
	all := make([]place, ebpf.MustPossibleCPU())
	for i, cpu := range g.cpus {
		all[cpu].Next = uint32(g.traffic.flows / len(g.cpus) * i)
		if g.traffic.flows == 0 {
			all[cpu].Next = g.from + uint32(i)
		}
	}
	return g.collection.Maps["generators"].Put(uint32(0), all)
}

// end returns how many frames were sent, and how many a second: the sum of the
// CPUs' rates.
func (g *generator) end() (sent uint64, rate float64, err error) {
	var all []place
	if err := g.collection.Maps["generators"].Lookup(uint32(0), &all); err != nil {
		return 0, 0, fmt.Errorf("read the generator's count: %w", err)
	}
	for i, cpu := range g.cpus {
		p := all[cpu]
		sent += p.Sent
		rate += float64(p.Sent) / g.busy[i].Seconds()
		if g.traffic.flows == 0 {
			g.from = max(g.from, p.Next)
		}
	}
	if sent >= trial {
		g.rate = rate / float64(len(g.cpus))
	}
	return sent, rate, nil
}

// trial are frames enough to guess a rate from.
const trial = 1 << 15

// framesIn is how many frames to send for about that time: as many as the last
// time's rate lets expect, since the system call takes a number.
func (g *generator) framesIn(d time.Duration) int {
	return int(g.rate*d.Seconds()) * len(g.cpus)
}

// send sends each CPU's share of n frames.
func (g *generator) send(n int) error {
	var wg sync.WaitGroup
	errs := make([]error, len(g.cpus))
	for i, cpu := range g.cpus {
		wg.Go(func() {
			errs[i] = g.bed.source.Do(func() error {
				return testlab.OnCPU(cpu, func() (err error) {
					g.busy[i], err = g.run(cpu, max(n/len(g.cpus), batch))
					return err
				})
			})
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

const (
	liveFrames = 1 << 1 // BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18
	batch      = 64
)

// testRun is the part of union bpf_attr that BPF_PROG_TEST_RUN uses.
type testRun struct {
	program             uint32
	_                   uint32
	dataSize, _         uint32
	data, _             uint64
	repeat              uint32
	duration            uint32
	contextSize, ctxOut uint32
	context, contextOut uint64
	flags, cpu, batch   uint32
	_                   uint32
}

// errInterrupted: a signal ended the sending early, and nobody knows after what
// time.
var errInterrupted = errors.New("interrupted by a signal")

// run sends frames and returns the time that they took this CPU: the system
// call's by the kernel's clock, in which most of what was sent is received too,
// and that of ksoftirqd, which receives the rest. The clock leaves out what the
// call does before and after, and the time that others had the CPU.
func (g *generator) run(cpu, frames int) (time.Duration, error) {
	behind, err := runTime(g.softirqs[cpu])
	if err != nil {
		return 0, err
	}
	attr := testRun{
		program:  uint32(g.collection.Programs["generate"].FD()),
		dataSize: uint32(len(g.frame)), data: uint64(uintptr(unsafe.Pointer(&g.frame[0]))),
		repeat: uint32(frames), flags: liveFrames, batch: batch,
	}
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_TEST_RUN, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(g)
	if errno == unix.EINTR {
		return 0, errInterrupted
	}
	if errno != 0 {
		return 0, fmt.Errorf("send %d frames: %w", frames, errno)
	}
	now, err := runTime(g.softirqs[cpu])
	return time.Duration(attr.duration)*time.Duration(frames) + now - behind, err
}

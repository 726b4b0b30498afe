package bench

import (
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// errInterrupted: a signal ended a run before its time, and nobody knows after
// how many repetitions.
var errInterrupted = errors.New("interrupted by a signal")

// testRun is the part of union bpf_attr that BPF_PROG_TEST_RUN uses.
type testRun struct {
	program             uint32
	verdict             uint32
	dataSize, outSize   uint32
	data, out           uint64
	repeat              uint32
	duration            uint32
	contextSize, ctxOut uint32
	context, contextOut uint64
	flags, cpu, batch   uint32
	_                   uint32
}

// runRepeated runs a program and returns the last repetition's verdict and the
// mean time of one, by the kernel's clock. The library's own function measures
// too, but not with a context, and begins anew after a signal.
//
// The kernel rounds the mean down to whole nanoseconds.
func runRepeated(p *ebpf.Program, frame, context []byte, repeat int) (verdict uint32, each time.Duration, err error) {
	attr := testRun{
		program:  uint32(p.FD()),
		dataSize: uint32(len(frame)), data: uint64(uintptr(unsafe.Pointer(&frame[0]))),
		contextSize: uint32(len(context)), context: uint64(uintptr(unsafe.Pointer(&context[0]))),
		repeat: uint32(repeat),
	}
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_TEST_RUN, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(frame)
	runtime.KeepAlive(context)
	switch errno {
	case 0:
		return attr.verdict, time.Duration(attr.duration), nil
	case unix.EINTR:
		return 0, 0, errInterrupted
	default:
		return 0, 0, fmt.Errorf("run %s %d times: %w", p, repeat, errno)
	}
}

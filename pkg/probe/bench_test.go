package probe

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// The benchmark's servers run in a process of their own, so that their work is
// not counted: this test binary, told so by its environment.
const serveVariable = "XLB_PROBE_BENCH_SERVE"

// serveConnections takes connections to any address of the loopback network and
// closes them, until its input ends.
func serveConnections() {
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func startServers(b *testing.B) (port uint16) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveVariable+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(line), 10, 16)
	if err != nil {
		b.Fatal(err)
	}
	return uint16(n)
}

// cpuTime is what this process has used of all CPUs, in the kernel and outside.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBackends probes many backends every two seconds, each at an address of
// its own on loopback. An iteration is ten seconds. It reports the share of one
// CPU, checks a second, and by how much checks start later than they are due.
func BenchmarkBackends(b *testing.B) {
	const interval, turn = 2 * time.Second, 10 * time.Second
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("tcp-%d", n), func(b *testing.B) {
			port := startServers(b)
			r := NewRunner(Options{Log: quiet})
			defer r.Close()
			targets := make([]Target, n)
			for i := range targets {
				at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1 + byte(i>>16), byte(i >> 8), byte(i)}), port)
				targets[i] = Target{Service: "s" + strconv.Itoa(i/100), Backend: at, Probe: model.Probe{
					Type: model.ProbeTCP, Interval: interval, Jitter: 10, Timeout: time.Second, Rise: 2, Fall: 3,
				}}
			}
			r.Apply(targets)
			time.Sleep(interval + interval/2) // the start is another matter
			late := r.recordLate()
			before, began := r.Stats(), time.Now()
			cpu := cpuTime(b)
			for b.Loop() {
				time.Sleep(turn)
			}
			took, used, after := time.Since(began), cpuTime(b)-cpu, r.Stats()
			times := late()
			for _, s := range r.Snapshot() {
				if s.State != model.Healthy || s.Failures > 0 {
					b.Fatalf("a backend that answers is %+v", s)
				}
			}
			done := after.Passed - before.Passed
			b.ReportMetric(100*used.Seconds()/took.Seconds(), "cpu-%")
			b.ReportMetric(float64(done)/took.Seconds(), "checks/s")
			b.ReportMetric(float64(used.Microseconds())/float64(done), "cpu-us/check")
			for _, p := range []int{50, 99, 100} {
				b.ReportMetric(float64(times[(len(times)-1)*p/100].Microseconds())/1000, fmt.Sprintf("late-p%d-ms", p))
			}
			b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
			b.ReportMetric(0, "ns/op") // an iteration is a turn
		})
	}
}

// recordLate records by how much each check starts late, until it is asked for
// them, sorted.
func (r *Runner) recordLate() (times func() []time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []time.Duration
	r.onStart = func(late time.Duration) { all = append(all, late) }
	return func() []time.Duration {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.onStart = nil
		slices.Sort(all)
		return all
	}
}

package probe

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/pkg/model"
)

// The benchmark's servers run in a process of their own, so that their work is
// not counted: this test binary, told so by its environment.
const serveVariable = "XLB_PROBE_BENCH_SERVE"

// serveConnections takes connections to any address of the loopback network and
// closes them, and at another port lets them wait for ever, until its input ends.
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
	fmt.Println(l.Addr().(*net.TCPAddr).Port, silentPort())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// silentPort is a port that drops SYNs: its queue of connections is full, and nobody
// takes any.
func silentPort() int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{}), unix.Listen(fd, 0)); err != nil {
		panic(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		panic(err)
	}
	port := at.(*unix.SockaddrInet4).Port
	for {
		// Those that get in stay open with this process.
		if _, err := net.DialTimeout("tcp4", fmt.Sprintf("127.0.0.1:%d", port), 500*time.Millisecond); err != nil {
			return port
		}
	}
}

func startServers(b *testing.B) (answers, silent uint16) {
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
	if _, err := fmt.Fscanln(out, &answers, &silent); err != nil {
		b.Fatal(err)
	}
	return answers, silent
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
// its own on loopback, of which some do not answer. An iteration is ten seconds. It
// reports the share of one CPU, checks a second, and by how much checks start later
// than they are due.
func BenchmarkBackends(b *testing.B) {
	for _, c := range []struct{ backends, silent int }{{1000, 0}, {10000, 0}, {10000, 1000}} {
		b.Run(fmt.Sprintf("tcp-%d-silent-%d", c.backends, c.silent), func(b *testing.B) {
			answers, silent := startServers(b)
			targets := make([]Target, c.backends)
			for i := range targets {
				port := answers
				if i < c.silent {
					port = silent
				}
				at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1 + byte(i>>16), byte(i >> 8), byte(i)}), port)
				targets[i] = Target{Service: "s" + strconv.Itoa(i/100), Backend: at, Probe: model.Probe{
					Type: model.ProbeTCP, Interval: 2 * time.Second, Jitter: 10, Timeout: time.Second, Rise: 2, Fall: 3,
				}}
			}
			measure(b, targets)
		})
	}
}

func measure(b *testing.B, targets []Target) {
	r := NewRunner(Options{Log: quiet})
	defer r.Close()
	r.Apply(targets)
	time.Sleep(5 * time.Second) // the start is another matter
	late := r.recordLate()
	before, began, cpu := r.Stats(), time.Now(), cpuTime(b)
	for b.Loop() {
		time.Sleep(10 * time.Second)
	}
	took, used, after := time.Since(began), cpuTime(b)-cpu, r.Stats()
	times := late()
	done := after.Passed + after.Failed - before.Passed - before.Failed
	b.ReportMetric(100*used.Seconds()/took.Seconds(), "cpu-%")
	b.ReportMetric(float64(done)/took.Seconds(), "checks/s")
	b.ReportMetric(float64(used.Microseconds())/float64(done), "cpu-us/check")
	for _, p := range []int{50, 99, 100} {
		b.ReportMetric(float64(times[(len(times)-1)*p/100].Microseconds())/1000, fmt.Sprintf("late-p%d-ms", p))
	}
	b.ReportMetric(float64(after.Running), "running")
	b.ReportMetric(0, "ns/op") // an iteration is a turn
	silent := 0
	for _, s := range r.Snapshot() {
		if s.State != model.Healthy {
			silent++
		}
	}
	b.ReportMetric(float64(silent), "unhealthy")
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

package compare

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"
	"time"
)

// userHZ is in what /proc/stat counts, on every architecture we run on.
const userHZ = 100

// busyTime is the time that all CPUs together have worked, interrupts included,
// in seconds. Only the whole machine's time holds what packets cost: the kernel
// books soft interrupts on whatever program they happen to interrupt.
func busyTime() (float64, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var user, nice, system, idle, iowait, irq, softirq float64
	if _, err := fmt.Sscanf(line, "cpu %g %g %g %g %g %g %g", &user, &nice, &system, &idle, &iowait, &irq, &softirq); err != nil {
		return 0, fmt.Errorf("/proc/stat: %q: %w", line, err)
	}
	return (user + nice + system + irq + softirq) / userHZ, nil
}

// stopwatch measures a piece of work.
type stopwatch struct {
	at   time.Time
	busy float64
}

func startStopwatch() (stopwatch, error) {
	busy, err := busyTime()
	return stopwatch{time.Now(), busy}, err
}

// noisy is how many CPUs others may use before the time of the whole machine says
// more of them than of us.
const noisy = 0.1

// spent is the CPU seconds since the start, without those of others that use so
// many CPUs all the time; NaN if that is too many.
func (w stopwatch) spent(others float64) (float64, error) {
	busy, err := busyTime()
	if others > noisy {
		return math.NaN(), err
	}
	return max(0, busy-w.busy-others*time.Since(w.at).Seconds()), err
}

// idleFor is how long the machine is watched before each balancer's turn.
const idleFor = 300 * time.Millisecond

// idleCPUs is how many CPUs are busy while we do nothing.
func idleCPUs(ctx context.Context, watch time.Duration) (float64, error) {
	w, err := startStopwatch()
	if err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(watch):
	}
	busy, err := w.spent(0)
	return busy / time.Since(w.at).Seconds(), err
}

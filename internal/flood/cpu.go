package flood

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// someCPUs are the first n of those that this process may use.
func someCPUs(n int) ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("read own CPUs: %w", err)
	}
	var cpus []int
	for cpu := 0; len(cpus) < n && cpu < 64*len(set); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// onCPU runs fn on one CPU. The calling goroutine has a thread of its own.
func onCPU(cpu int, fn func() error) error {
	var home, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &home); err != nil {
		return fmt.Errorf("read own CPUs: %w", err)
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("go to CPU %d: %w", cpu, err)
	}
	err := fn()
	if back := unix.SchedSetaffinity(0, &home); back != nil {
		return errors.Join(err, fmt.Errorf("leave CPU %d: %w", cpu, back))
	}
	return err
}

// softirqThreads are the schedstat files of the kernel's threads that receive, on
// each CPU, what the sending thread did not receive itself. Where they cannot be
// seen (in another PID namespace) there are none, and their time is missing.
func softirqThreads() (map[int]string, error) {
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return nil, err
	}
	found := map[int]string{}
	for _, path := range names {
		var cpu int
		name, err := os.ReadFile(path)
		if err != nil {
			continue // a process that just ended
		}
		if _, err := fmt.Sscanf(string(name), "ksoftirqd/%d", &cpu); err == nil {
			found[cpu] = filepath.Join(filepath.Dir(path), "schedstat")
		}
	}
	return found, nil
}

// runTime is the time for which a thread has run; 0 without a file.
func runTime(schedstat string) (ns time.Duration, err error) {
	if schedstat == "" {
		return 0, nil
	}
	text, err := os.ReadFile(schedstat)
	if err == nil {
		_, err = fmt.Sscan(string(text), &ns)
	}
	if err != nil {
		return 0, fmt.Errorf("read ksoftirqd's time: %w", err)
	}
	return ns, nil
}

package testlab

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// CPUs are the first n of those that this process may use, fewer if it has fewer.
func CPUs(n int) ([]int, error) {
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

// OnCPU runs fn on one CPU. The calling goroutine has a thread of its own
// (runtime.LockOSThread).
func OnCPU(cpu int, fn func() error) error {
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

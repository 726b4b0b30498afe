package flood

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

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

package flood

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// kernel is the running kernel's release.
func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// cpu is the processor's name, where the kernel tells it.
func cpu() string {
	b, _ := os.ReadFile("/proc/cpuinfo") // no file: no name
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

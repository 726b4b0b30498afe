package testlab

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Kernel is the running kernel's release, "unknown" if it does not tell.
func Kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// CPU is the processor's name, "unknown" where the kernel does not tell it.
func CPU() string {
	b, _ := os.ReadFile("/proc/cpuinfo") // no file: no name
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

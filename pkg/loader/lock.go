package loader

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrLocked is returned if another process owns the pin directory.
var ErrLocked = errors.New("pin directory is in use")

// lock takes the directory for this process until the file is closed. The BPF
// file system has no regular files, so the lock is on the directory itself; the
// kernel drops it when its owner dies, however it dies.
func lock(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open pin directory: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	defer f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: %w by %s (stop it, or give this one another --pin-dir)", dir, ErrLocked, lockOwner(f))
	}
	return nil, fmt.Errorf("lock %s: %w", dir, err)
}

// lockOwner looks the lock up in /proc/locks, whose lines read
// "1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF".
func lockOwner(f *os.File) string {
	var st unix.Stat_t
	const unknown = "another process"
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return unknown
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return unknown
	}
	defer locks.Close()
	device := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 6 && fields[1] == "FLOCK" && fields[5] == device {
			return "process " + fields[4]
		}
	}
	return unknown
}

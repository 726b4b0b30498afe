package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sysctl is one setting of an interface; short is what records call it.
type sysctl struct{ short, key, value, unless string }

// bpf_fib_lookup answers only on interfaces that forward. Turning IPv6
// forwarding on makes the kernel ignore router advertisements unless accept_ra
// is 2, which would take a host's address away.
var forwarding = []sysctl{
	{"v4forwarding", "net/ipv4/conf/%s/forwarding", "1", ""},
	{"v6ra", "net/ipv6/conf/%s/accept_ra", "2", "0"},
	{"v6forwarding", "net/ipv6/conf/%s/forwarding", "1", ""},
}

// enableForwarding sets what the data plane needs on every interface.
func (l *Loader) enableForwarding() error {
	for _, iface := range l.options.Settings.Interfaces {
		for _, s := range forwarding {
			path := sysctlPath(s.key, iface)
			old, err := readSysctl(path)
			if errors.Is(err, os.ErrNotExist) && strings.HasPrefix(s.short, "v6") {
				continue // a host without IPv6
			}
			if err != nil {
				return fmt.Errorf("interface %q: %w (see `ip link`)", iface, err)
			}
			if old == s.value || old == s.unless {
				continue
			}
			if err := l.setSysctl(iface, s, old, "route look-ups"); err != nil {
				return err
			}
		}
	}
	return nil
}

// setSysctl records what was there before, as the name of a directory, since the
// BPF file system holds no files, and sets the value.
func (l *Loader) setSysctl(iface string, s sysctl, old, what string) error {
	path := sysctlPath(s.key, iface)
	record := filepath.Join(l.pins.restore(), pinName(iface, s.short)+"="+old)
	if err := os.MkdirAll(record, 0o700); err != nil {
		return fmt.Errorf("record sysctl: %w", err)
	}
	if err := os.WriteFile(path, []byte(s.value), 0); err != nil {
		return fmt.Errorf("set sysctl: %w", err)
	}
	l.options.Log.Info("set sysctl for "+what+"; `xlb detach` sets it back", "path", path, "old", old, "new", s.value)
	return nil
}

func sysctlPath(key, iface string) string {
	return filepath.Join("/proc/sys", fmt.Sprintf(key, iface))
}

func readSysctl(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}

// restoreSysctls sets back what the records say of these settings, and removes
// them. Interfaces that are gone need nothing.
func restoreSysctls(dir string, of []sysctl) ([]string, error) {
	names, err := entries(dir)
	if err != nil {
		return nil, err
	}
	var done []string
	for _, n := range names {
		pin, old, _ := strings.Cut(n, "=")
		iface, short, ok := parsePinName(pin)
		i := slices.IndexFunc(of, func(s sysctl) bool { return s.short == short })
		if !ok || i < 0 {
			continue
		}
		path := sysctlPath(of[i].key, iface)
		err := os.WriteFile(path, []byte(old), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return done, fmt.Errorf("set %s back to %s: %w", path, old, err)
		}
		if err == nil {
			done = append(done, fmt.Sprintf("sysctl %s set back to %s", path, old))
		}
		if err := os.Remove(filepath.Join(dir, n)); err != nil {
			return done, err
		}
	}
	return done, nil
}

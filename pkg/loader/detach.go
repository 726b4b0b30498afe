package loader

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/xlb-io/xlb/internal/bpfpin"
)

// Detach removes a data plane from the kernel: links, clsact filters, maps,
// the nftables table, the routes of probes, and the sysctls that were set. It returns what it removed,
// a line each; nothing, and no error, if nothing was there. The error is
// [ErrLocked] while a daemon runs.
func Detach(pinDir string, log *slog.Logger) (removed []string, err error) {
	p := pins{pinDir}
	if _, err := os.Stat(pinDir); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	held, err := lock(pinDir)
	if err != nil {
		return nil, err
	}
	defer held.Close()
	versions, err := entries(pinDir)
	if err != nil {
		return nil, err
	}
	for _, v := range versions {
		done, err := detachVersion(filepath.Join(pinDir, v))
		removed = append(removed, done...)
		if err != nil {
			return removed, err
		}
	}
	if len(versions) > 0 {
		for _, remove := range []func() ([]string, error){removeFirewall, removeProbeRoutes} {
			done, err := remove()
			removed = append(removed, done...)
			if err != nil {
				return removed, err
			}
		}
	}
	if err := os.Remove(p.root); err != nil {
		return removed, fmt.Errorf("remove pin directory: %w", err)
	}
	removed = append(removed, "pins under "+pinDir)
	for _, r := range removed {
		log.Debug("removed", "what", r)
	}
	return removed, nil
}

func detachVersion(dir string) (removed []string, err error) {
	links, err := entries(filepath.Join(dir, "links"))
	if err != nil {
		return nil, err
	}
	for _, n := range links {
		iface, kind, ok := parsePinName(n)
		if !ok {
			continue
		}
		if err := bpfpin.Detach(filepath.Join(dir, "links", n)); err != nil {
			return removed, err
		}
		removed = append(removed, fmt.Sprintf("%s link on %s", kind, iface))
	}
	done, err := removeFilters()
	removed = append(removed, done...)
	if err != nil {
		return removed, err
	}
	done, err = restoreSysctls(filepath.Join(dir, "restore"), slices.Concat(forwarding, returning))
	removed = append(removed, done...)
	if err != nil {
		return removed, err
	}
	return removed, removePinned(dir)
}

// removeFilters removes our clsact filters from every interface: they are not
// pinned, so nothing says where they are.
func removeFilters() (removed []string, err error) {
	all, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	for _, iface := range all {
		for _, at := range []tcHook{tcIngress, tcEgress, tcInject} {
			filters, err := netlink.FilterList(iface, at.parent)
			if err != nil || !slices.ContainsFunc(filters, at.isOurs) {
				continue
			}
			if err := removeFilter(iface, at); err != nil {
				return removed, err
			}
			removed = append(removed, "clsact filter on "+iface.Attrs().Name)
		}
	}
	return removed, nil
}

func (at tcHook) isOurs(f netlink.Filter) bool {
	b, ok := f.(*netlink.BpfFilter)
	return ok && b.Handle == at.handle && strings.HasPrefix(b.Name, filterName)
}

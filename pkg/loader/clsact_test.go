package loader

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

// TCHook is what holds a TC program on this kernel: tcx came with Linux 6.6.
func TCHook(t *testing.T) string {
	t.Helper()
	version, err := features.LinuxVersionCode()
	if err != nil {
		t.Fatal(err)
	}
	if version < 6<<16|6<<8 {
		return "clsact filter"
	}
	return "tcx link"
}

// On a kernel without tcx (before Linux 6.6) a clsact filter holds the program;
// a later start with tcx replaces it, and detach removes it.
func TestClsact(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	lab, err := testlab.New("clsact")
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	ns, err := lab.Namespace("host")
	if err != nil {
		t.Fatal(err)
	}
	peer, err := lab.Namespace("peer")
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Veth(testlab.End{Namespace: ns, Name: "up0"}, testlab.End{Namespace: peer, Name: "down0"}); err != nil {
		t.Fatal(err)
	}
	dir := fmt.Sprintf("%s-%d-clsact", DefaultPinDir, os.Getpid())
	settings := model.Settings{
		Interfaces: []string{"up0"}, Attach: model.AttachTC, NextHop: model.NextHopFIB,
		NATPorts:      model.PortRange{First: 1024, Last: 32767},
		FlowTableSize: 1024, TableSize: 13, MaxServices: 2, MaxFrontends: 2, MaxBackends: 2, MaxSources: 2,
	}
	open := func(tcx bool) (hook string) {
		t.Helper()
		err := ns.Do(func() error {
			l := &Loader{options: Options{PinDir: dir, Settings: settings, Log: slog.New(slog.DiscardHandler)}, pins: pins{dir}}
			l.tcx = func(netlink.Link, *ebpf.Program, tcHook) error { return ebpf.ErrNotSupported }
			if tcx {
				l.tcx = l.putTCX
			}
			defer l.Close()
			if err := l.open(); err != nil {
				return err
			}
			hook = l.Attachments()[0].Hook
			i, err := l.Injector()
			if err != nil {
				return err
			}
			// As if the process ended.
			return errors.Join(i.programs.Close(), unix.Close(i.socket), l.RouteProbes([]netip.Addr{netip.MustParseAddr("192.0.2.1")}))
		})
		if err != nil {
			t.Fatal(err)
		}
		return hook
	}
	// filters are those of the interface, and those of lo: for probes and for
	// injected packets.
	filters := func() (n [2]int) {
		err := ns.Do(func() error {
			for i, at := range []struct {
				name   string
				parent uint32
			}{{"up0", netlink.HANDLE_MIN_INGRESS}, {"lo", netlink.HANDLE_MIN_EGRESS}} {
				iface, err := netlink.LinkByName(at.name)
				if err != nil {
					return err
				}
				found, _ := netlink.FilterList(iface, at.parent)
				n[i] = len(found)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}

	for range 2 { // the second start replaces the first one's filter
		if hook := open(false); hook != "clsact filter" || filters() != [2]int{1, 2} {
			t.Errorf("held by %q, %d filters, want a clsact filter for each program", hook, filters())
		}
	}
	if TCHook(t) == "tcx link" {
		if hook := open(true); hook != "tcx link" || filters() != [2]int{} {
			t.Errorf("held by %q, %d filters, want a tcx link alone", hook, filters())
		}
		open(false)
	}
	err = ns.Do(func() error {
		removed, err := Detach(dir, slog.Default())
		if all := strings.Join(removed, ", "); !strings.Contains(all, "clsact filter on up0") || !strings.Contains(all, "clsact filter on lo") {
			t.Errorf("removed %s", all)
		}
		return err
	})
	if err != nil || filters() != [2]int{} {
		t.Errorf("%d filters left, error %v", filters(), err)
	}
}

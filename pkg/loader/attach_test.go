package loader_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/model"
)

func TestModes(t *testing.T) {
	for _, c := range []struct {
		ask, get model.AttachMode
		hook     string
		why      string
	}{
		{model.AttachAuto, model.AttachTC, loader.TCHook(t), "virtual interface (veth)"},
		{model.AttachNative, model.AttachNative, "xdp link", "asks for native"},
		{model.AttachGeneric, model.AttachGeneric, "xdp link", "asks for generic"},
		{model.AttachTC, model.AttachTC, loader.TCHook(t), "asks for tc"},
	} {
		t.Run(c.ask.String(), func(t *testing.T) {
			n := newNetwork(t)
			l := n.open(t, n.settings(c.ask))
			defer l.Close()
			n.fill(t, l)
			n.works(t)
			for _, a := range l.Attachments() {
				if a.Mode != c.get || a.Hook != c.hook || !strings.Contains(a.Why, c.why) {
					t.Errorf("attached as %+v, want mode %v by %s because %s", a, c.get, c.hook, c.why)
				}
			}
		})
	}
}

// Without an owner the data plane goes on; the next owner takes over the maps
// and keeps or changes the mode.
func TestAdopt(t *testing.T) {
	n := newNetwork(t)
	l := n.open(t, n.settings(model.AttachNative))
	if l.Adopted() {
		t.Error("a first start adopted something")
	}
	n.fill(t, l)
	l.Close()
	n.works(t)

	for _, mode := range []model.AttachMode{model.AttachNative, model.AttachGeneric, model.AttachTC, model.AttachNative} {
		l = n.open(t, n.settings(mode))
		if !l.Adopted() {
			t.Errorf("%v: maps were not adopted", mode)
		}
		for _, a := range l.Attachments() {
			if a.Mode != mode {
				t.Errorf("attached as %v, want %v", a.Mode, mode)
			}
		}
		n.works(t)
		l.Close()
	}
}

// Other sizes mean new maps; what they hold is carried over before the links
// use them.
func TestResize(t *testing.T) {
	n := newNetwork(t)
	l := n.open(t, n.settings(model.AttachNative))
	n.fill(t, l)
	l.Close()
	s := n.settings(model.AttachNative)
	s.FlowTableSize, s.TableSize, s.MaxBackends = 8192, 509, 128
	l = n.open(t, s)
	defer l.Close()
	if got := l.Maps().Sizes(); l.Adopted() || got.Flows != 8192 || got.Table != 509 {
		t.Errorf("adopted %v, sizes %+v", l.Adopted(), got)
	}
	n.works(t)
}

// Pins of another layout are taken over: their links updated, the rest removed.
func TestOtherLayout(t *testing.T) {
	n := newNetwork(t)
	l := n.open(t, n.settings(model.AttachNative))
	n.fill(t, l)
	l.Close()
	if err := os.Rename(filepath.Join(n.pins, fmt.Sprint("v", bpf.LayoutVersion)), filepath.Join(n.pins, "v0")); err != nil {
		t.Fatal(err)
	}
	l = n.open(t, n.settings(model.AttachNative))
	defer l.Close()
	if l.Adopted() {
		t.Error("maps of another layout were adopted")
	}
	if _, err := os.Stat(filepath.Join(n.pins, "v0")); !os.IsNotExist(err) {
		t.Errorf("the other layout is left: %v", err)
	}
	n.fill(t, l)
	n.works(t)
}

func TestLock(t *testing.T) {
	n := newNetwork(t)
	l := n.open(t, n.settings(model.AttachTC))
	defer l.Close()
	_, err := n.tryOpen(n.settings(model.AttachTC))
	if !errors.Is(err, loader.ErrLocked) || !strings.Contains(err.Error(), "process ") {
		t.Errorf("second owner: %v, want an error that names the first", err)
	}
	if _, err := loader.Detach(n.pins, nil); !errors.Is(err, loader.ErrLocked) {
		t.Errorf("detach under an owner: %v", err)
	}
}

// An interface that was removed and made anew has a dead link in the pins.
func TestInterfaceComesBack(t *testing.T) {
	n := newNetwork(t)
	s := n.settings(model.AttachNative)
	err := n.Balancer.Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "come.back"}, PeerName: "peer"})
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Interfaces = append(s.Interfaces, "come.back")
	n.open(t, s).Close()
	err = n.Balancer.Do(func() error {
		old, err := netlink.LinkByName("come.back")
		if err != nil {
			return err
		}
		if err := netlink.LinkDel(old); err != nil {
			return err
		}
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "come.back"}, PeerName: "peer"})
	})
	if err != nil {
		t.Fatal(err)
	}
	l := n.open(t, s)
	if len(l.Attachments()) != 3 {
		t.Errorf("attached to %v", l.Attachments())
	}
	l.Close()

	// And one that is no longer wanted is left.
	n.open(t, n.settings(model.AttachNative)).Close()
	err = n.Balancer.Do(func() error {
		iface, err := netlink.LinkByName("come.back")
		if err == nil && iface.Attrs().Xdp != nil && iface.Attrs().Xdp.Attached {
			t.Error("the program is still on an interface that is not configured")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Somebody else's program is never replaced: asked for XDP it is an error that
// names the program. TC runs beside it.
func TestForeignXDP(t *testing.T) {
	n := newNetwork(t)
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "somebody", Type: ebpf.XDP, License: "MIT", AttachType: ebpf.AttachXDP,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	index, err := n.Balancer.Index("cl0")
	if err != nil {
		t.Fatal(err)
	}
	var foreign link.Link
	err = n.Balancer.Do(func() (err error) {
		foreign, err = link.AttachXDP(link.XDPOptions{Program: prog, Interface: index, Flags: link.XDPDriverMode})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	for _, mode := range []model.AttachMode{model.AttachNative, model.AttachGeneric} {
		if _, err := n.tryOpen(n.settings(mode)); err == nil || !strings.Contains(err.Error(), "somebody") {
			t.Errorf("%v: error %v, want one that names the program", mode, err)
		}
	}
	l := n.open(t, n.settings(model.AttachAuto))
	defer l.Close()
	if a := l.Attachments()[0]; a.Mode != model.AttachTC {
		t.Errorf("auto chose %+v, want tc", a)
	}
	n.fill(t, l)
	n.works(t)
	if info, err := foreign.Info(); err != nil || info.XDP().Ifindex == 0 {
		t.Errorf("the foreign link was touched: %v", err)
	}
}

func TestMissingInterface(t *testing.T) {
	n := newNetwork(t)
	s := n.settings(model.AttachTC)
	s.Interfaces = []string{"nosuch0"}
	if _, err := n.tryOpen(s); err == nil || !strings.Contains(err.Error(), `"nosuch0"`) {
		t.Errorf("error %v, want one that names the interface", err)
	}
}

func TestPinDirectory(t *testing.T) {
	for _, dir := range []string{"relative", t.TempDir()} {
		if _, err := loader.Open(loader.Options{PinDir: dir}); err == nil || !strings.Contains(err.Error(), "pin directory") {
			t.Errorf("%s: error %v", dir, err)
		}
	}
}

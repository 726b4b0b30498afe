package loader

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"

	"github.com/xlb-io/xlb/pkg/model"
)

// autoModes are the modes to try on an interface, best first, and why the first
// is. What comes over a virtual interface are mostly packets of up to 64 KiB that
// were never cut; XDP in the driver would make their senders cut and copy them.
// A network card delivers what was on the wire, which XDP takes fastest.
func autoModes(virtual string) (modes []model.AttachMode, reason string) {
	if virtual == "" {
		return []model.AttachMode{model.AttachNative, model.AttachGeneric, model.AttachTC}, "the driver runs XDP"
	}
	return []model.AttachMode{model.AttachTC, model.AttachNative, model.AttachGeneric},
		fmt.Sprintf("virtual interface (%s): tc keeps super-packets whole", virtual)
}

// kindOf says what makes an interface virtual; nothing if it is a network card.
func kindOf(iface netlink.Link) string {
	_, err := os.Stat(filepath.Join("/sys/class/net", iface.Attrs().Name, "device"))
	var master netlink.Link
	if i := iface.Attrs().MasterIndex; i != 0 {
		master, _ = netlink.LinkByIndex(i)
	}
	return virtualKind(iface, master, err == nil)
}

// virtualKind judges by the link's kind, its master (nil if it has none) and
// whether a device of the machine is behind it. A card of a virtual machine, such
// as virtio_net, is a card. So is a bond, whose driver hands XDP to its cards.
func virtualKind(iface, master netlink.Link, device bool) string {
	const plain = "device" // what the library calls a link without a kind
	switch kind := iface.Type(); {
	case kind == "bond":
		return ""
	case kind != plain:
		return kind
	case master != nil && master.Type() == "bridge":
		return "member of bridge " + master.Attrs().Name
	case !device:
		return "no device behind it"
	}
	return ""
}

package testlab

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Features are the offloads of a link that decide whether packets survive an
// XDP program. See ethtool(8), -K.
type Features struct {
	// TxChecksum on: the sender leaves checksums to a later device. Behind a
	// veth there is none, so a program that transmits or redirects such a
	// packet sends it out with an unfinished checksum.
	TxChecksum bool
	// GRO on: the link polls (NAPI), without which it loses frames that a
	// program redirects to its peer.
	GRO bool
}

// ethtoolValue is struct ethtool_value of linux/ethtool.h.
type ethtoolValue struct{ cmd, data uint32 }

// ethtoolRequest is struct ifreq of linux/if.h with a pointer as its datum.
type ethtoolRequest struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// Features reads the offloads of a link.
func (n *Namespace) Features(link string) (Features, error) {
	tx, err := n.ethtool(link, unix.ETHTOOL_GTXCSUM, 0)
	if err != nil {
		return Features{}, err
	}
	gro, err := n.ethtool(link, unix.ETHTOOL_GGRO, 0)
	return Features{TxChecksum: tx != 0, GRO: gro != 0}, err
}

// SetFeatures sets the offloads of a link and verifies that they took.
func (n *Namespace) SetFeatures(link string, f Features) error {
	if _, err := n.ethtool(link, unix.ETHTOOL_STXCSUM, b2u(f.TxChecksum)); err != nil {
		return err
	}
	if _, err := n.ethtool(link, unix.ETHTOOL_SGRO, b2u(f.GRO)); err != nil {
		return err
	}
	got, err := n.Features(link)
	if err == nil && got != f {
		err = fmt.Errorf("features of %s in namespace %s: asked for %+v, have %+v", link, n.Name, f, got)
	}
	return err
}

func (n *Namespace) ethtool(link string, cmd, data uint32) (uint32, error) {
	if len(link) >= unix.IFNAMSIZ {
		return 0, fmt.Errorf("interface name %q: longer than %d", link, unix.IFNAMSIZ-1)
	}
	value := &ethtoolValue{cmd, data}
	request := &ethtoolRequest{data: unsafe.Pointer(value)}
	copy(request.name[:], link)
	err := n.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(request)))
		if errno != 0 {
			err = errno
		}
		return errors.Join(err, unix.Close(fd))
	})
	if err != nil {
		return 0, fmt.Errorf("ethtool command %#x on %s in namespace %s: %w", cmd, link, n.Name, err)
	}
	return value.data, nil
}

func b2u(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

package testlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace with lo up. It is visible to `ip netns`
// under FullName while the lab lives.
type Namespace struct {
	// Name is the name within the lab.
	Name string
	// FullName is the name under /run/netns.
	FullName string

	lab *Lab
	fd  int

	mu     sync.Mutex
	handle *netlink.Handle
}

// quietSysctls make a namespace behave alike on every host, whose own
// settings new namespaces inherit in part: no reverse-path filter, no
// redirects, and addresses usable at once instead of after a second of
// duplicate address detection.
var quietSysctls = [][2]string{
	{"net.ipv4.conf.all.rp_filter", "0"},
	{"net.ipv4.conf.default.rp_filter", "0"},
	{"net.ipv4.conf.all.send_redirects", "0"},
	{"net.ipv4.conf.default.send_redirects", "0"},
	{"net.ipv4.conf.all.accept_redirects", "0"},
	{"net.ipv4.conf.default.accept_redirects", "0"},
	{"net.ipv4.ip_forward", "0"},
	{"net.ipv6.conf.all.disable_ipv6", "0"},
	{"net.ipv6.conf.default.disable_ipv6", "0"},
	{"net.ipv6.conf.all.accept_dad", "0"},
	{"net.ipv6.conf.default.accept_dad", "0"},
	{"net.ipv6.conf.all.accept_ra", "0"},
	{"net.ipv6.conf.default.accept_ra", "0"},
}

// Namespace makes a network namespace. The name is unique in the lab: 1 to 32
// of letters, digits and '-'.
func (l *Lab) Namespace(name string) (*Namespace, error) {
	if name == "" || len(name) > 32 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
		return nil, fmt.Errorf("namespace name %q: want 1 to 32 letters, digits or '-'", name)
	}
	n := &Namespace{Name: name, FullName: l.prefix + name, lab: l, fd: -1}
	l.mu.Lock()
	_, taken := l.spaces[name]
	if !taken {
		l.spaces[name] = n
	}
	l.mu.Unlock()
	if taken {
		return nil, fmt.Errorf("namespace %q exists already in this lab", name)
	}
	if err := n.create(); err != nil {
		l.mu.Lock()
		delete(l.spaces, name)
		l.mu.Unlock()
		return nil, fmt.Errorf("namespace %s: %w", name, err)
	}
	return n, nil
}

func (n *Namespace) create() error {
	fd, err := newNamespace(n.FullName)
	if err != nil {
		return err
	}
	n.fd = fd
	if err := n.lab.own(n.remove); err != nil {
		return err
	}
	for _, s := range quietSysctls {
		if err := n.Sysctl(s[0], s[1]); err != nil {
			return err
		}
	}
	return n.LinkUp("lo")
}

// remove deletes the links before the namespace: a socket still open
// somewhere would otherwise keep the namespace and its cables alive.
func (n *Namespace) remove() error {
	errs := []error{n.deleteLinks()}
	n.mu.Lock()
	if n.handle != nil {
		n.handle.Close()
		n.handle = nil
	}
	fd := n.fd
	n.fd = -1
	n.mu.Unlock()
	errs = append(errs, removeNamespace(n.FullName))
	if fd >= 0 {
		errs = append(errs, unix.Close(fd))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove namespace %s: %w", n.Name, err)
	}
	return nil
}

func (n *Namespace) deleteLinks() error {
	h, err := n.Handle()
	if err != nil {
		return err
	}
	links, err := h.LinkList()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	var errs []error
	for _, link := range links {
		if link.Attrs().Name == "lo" {
			continue
		}
		// The other end of a cable may have taken it along, and a fallback
		// tunnel device cannot be deleted: it goes with the namespace.
		err := h.LinkDel(link)
		if err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EOPNOTSUPP) {
			errs = append(errs, fmt.Errorf("delete link %s: %w", link.Attrs().Name, err))
		}
	}
	return errors.Join(errs...)
}

// Do runs fn on an operating system thread that is inside the namespace and
// returns its error. Sockets and files that fn opens stay where they were
// opened; goroutines that fn starts are outside, and so is /proc/net, which
// shows the process: read /proc/thread-self/net. A [runtime.Goexit] in fn
// (testing's FailNow) ends the caller too.
func (n *Namespace) Do(fn func() error) error {
	return onThread(func() error {
		if err := n.enter(); err != nil {
			return err
		}
		return fn()
	})
}

// enter moves the calling thread into the namespace.
func (n *Namespace) enter() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := errClosed
	if n.fd >= 0 {
		err = unix.Setns(n.fd, unix.CLONE_NEWNET)
	}
	if err != nil {
		return fmt.Errorf("enter namespace %s: %w", n.Name, err)
	}
	return nil
}

// Handle is a netlink handle of the namespace. It is shared and the lab
// closes it.
func (n *Namespace) Handle() (*netlink.Handle, error) {
	n.mu.Lock()
	h := n.handle
	n.mu.Unlock()
	if h != nil {
		return h, nil
	}
	err := n.Do(func() error {
		var err error
		h, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("netlink handle of namespace %s: %w", n.Name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.handle != nil {
		h.Close()
		return n.handle, nil
	}
	n.handle = h
	return h, nil
}

// Sysctl writes a setting of the namespace. Key has the form of sysctl(8):
// "net.ipv4.ip_forward", or with slashes where an interface name has a dot.
func (n *Namespace) Sysctl(key, value string) error {
	path := key
	if !strings.Contains(key, "/") {
		path = strings.ReplaceAll(key, ".", "/")
	}
	return n.Do(func() error {
		f, err := os.OpenFile(filepath.Join("/proc/sys", path), os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("sysctl %s in namespace %s: %w", key, n.Name, err)
		}
		_, err = f.WriteString(value)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("sysctl %s=%s in namespace %s: %w", key, value, n.Name, err)
		}
		return nil
	})
}

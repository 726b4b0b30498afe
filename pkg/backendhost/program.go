package backendhost

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/bpf"
)

// Kernel versions in the form of LINUX_VERSION_CODE.
const (
	linux5_18 = 5<<16 | 18<<8 // XDP programs for packets of several buffers
	linux6_3  = 6<<16 | 3<<8  // bpf_skb_adjust_room knows of decapsulation
	linux6_6  = 6<<16 | 6<<8  // tcx links
)

// kernelVersion is another one in tests.
var kernelVersion = features.LinuxVersionCode

// program is the decapsulation program of one hook.
type program struct {
	spec *ebpf.CollectionSpec
	name string
	// fingerprint tells it from another version or for another port.
	fingerprint string
}

// newProgram makes the program for a hook, not loaded yet.
func newProgram(hook string, c *Config) (*program, error) {
	version, err := kernelVersion()
	if err != nil {
		return nil, fmt.Errorf("kernel version: %w", err)
	}
	return newProgramFor(hook, c, version)
}

func newProgramFor(hook string, c *Config, version uint32) (*program, error) {
	p := &program{name: bpf.DecapTcProgXlbDecapTc}
	loadSpec := bpf.LoadDecapTc
	if hook == HookXDP {
		p.name, loadSpec = bpf.DecapXdpProgXlbDecapXdp, bpf.LoadDecapXdp
	}
	var err error
	if p.spec, err = loadSpec(); err != nil {
		return nil, err
	}
	values := map[string]any{bpf.DecapTcVarDecapGuePort: c.GUEPort}
	if hook == HookXDP {
		frags := version >= linux5_18
		values[bpf.DecapXdpVarDecapFrags] = frags
		if !frags {
			p.spec.Programs[p.name].Flags &^= unix.BPF_F_XDP_HAS_FRAGS
		}
	} else {
		values[bpf.DecapTcVarDecapKnowsFamily] = version >= linux6_3
	}
	for name, value := range values {
		if err := p.spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	code := sha256.Sum256(fmt.Append(nil, p.spec.Programs[p.name].Instructions))
	p.fingerprint = fmt.Sprintf("%x port %d", code[:8], c.GUEPort)
	return p, nil
}

// load loads the program onto maps that are pinned, or pins new ones. Maps of
// another version are replaced: the program that uses them will be too.
func (p *program) load(d Dirs) (*ebpf.Collection, error) {
	// Before Linux 5.11 BPF memory counts against RLIMIT_MEMLOCK, and it does
	// where an administrator kept that.
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("raise the limit of locked memory: %w", err)
	}
	for _, name := range mapNames {
		p.spec.Maps[name].Pinning = ebpf.PinByName
	}
	options := ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: d.Pins}}
	c, err := ebpf.NewCollectionWithOptions(p.spec, options)
	if errors.Is(err, ebpf.ErrMapIncompatible) {
		for _, name := range mapNames {
			if err := os.Remove(d.pin(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, fmt.Errorf("remove pin of another version: %w", err)
			}
		}
		c, err = ebpf.NewCollectionWithOptions(p.spec, options)
	}
	if err != nil {
		return nil, fmt.Errorf("load program %s: %w", p.name, err)
	}
	return c, nil
}

// mappedAddress is struct decap_address.
type mappedAddress = [16]byte

// prefix is struct decap_prefix.
type prefix struct {
	Length  uint32
	Address mappedAddress
}

// contents are what the two maps are to hold.
func contents(c *Config) (sources map[prefix]uint8, vips map[mappedAddress]uint8) {
	sources, vips = map[prefix]uint8{}, map[mappedAddress]uint8{}
	for _, p := range c.From {
		length := p.Bits() + 128 - p.Addr().BitLen()
		sources[prefix{uint32(length), p.Addr().As16()}] = 1
	}
	for _, v := range c.VIPs {
		vips[v.As16()] = 1
	}
	return sources, vips
}

// held reads a map.
func held[K comparable](m *ebpf.Map) (map[K]uint8, error) {
	all := map[K]uint8{}
	var (
		key   K
		value uint8
	)
	entries := m.Iterate()
	for entries.Next(&key, &value) {
		all[key] = value
	}
	if err := entries.Err(); err != nil {
		return nil, fmt.Errorf("read map: %w", err)
	}
	return all, nil
}

// fill makes a map hold exactly want; what stays is not touched.
func fill[K comparable](m *ebpf.Map, want map[K]uint8) error {
	have, err := held[K](m)
	if err != nil {
		return err
	}
	for key := range want {
		if _, ok := have[key]; ok {
			continue
		}
		if err := m.Put(key, uint8(1)); err != nil {
			if errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOSPC) {
				return fmt.Errorf("more than %d addresses", m.MaxEntries())
			}
			return fmt.Errorf("write map: %w", err)
		}
	}
	for key := range have {
		if _, ok := want[key]; ok {
			continue
		}
		if err := m.Delete(key); err != nil {
			return fmt.Errorf("write map: %w", err)
		}
	}
	return nil
}

// fillMaps writes what the program accepts.
func fillMaps(c *Config, maps map[string]*ebpf.Map) error {
	sources, vips := contents(c)
	if err := fill(maps[sourcesMap], sources); err != nil {
		return fmt.Errorf("allowed sources: %w", err)
	}
	if err := fill(maps[vipsMap], vips); err != nil {
		return fmt.Errorf("VIPs: %w", err)
	}
	return nil
}

// mapsHold says whether the pinned maps hold what c wants.
func mapsHold(c *Config, d Dirs) (bool, error) {
	sources, vips := contents(c)
	ok, err := pinnedHolds(d.pin(sourcesMap), sources)
	if !ok || err != nil {
		return false, err
	}
	return pinnedHolds(d.pin(vipsMap), vips)
}

func pinnedHolds[K comparable](path string, want map[K]uint8) (bool, error) {
	m, err := ebpf.LoadPinnedMap(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open pinned map %s: %w", path, err)
	}
	defer m.Close()
	have, err := held[K](m)
	if err != nil || len(have) != len(want) {
		return false, err
	}
	for key := range want {
		if _, ok := have[key]; !ok {
			return false, nil
		}
	}
	return true, nil
}

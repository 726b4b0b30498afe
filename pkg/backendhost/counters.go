package backendhost

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/xlb-io/xlb/bpf"
)

// Counter is a number of packets that the decapsulation program saw.
type Counter struct {
	// Reason is what became of them, such as "drop_source".
	Reason  string `json:"reason"`
	Packets uint64 `json:"packets"`
	// Meaning is the reason in words.
	Meaning string `json:"meaning"`
}

// meanings are the reasons of bpf/lib/decap.h in words.
var meanings = map[string]string{
	"pass_other":     "no tunnel of a balancer; left to the host",
	"pass_not_vip":   "from a balancer, but not to a VIP of this host; left to the host",
	"accepted":       "outer headers taken off",
	"drop_source":    "to a VIP, but not from a balancer (see --from)",
	"drop_fragment":  "fragments: the path to this host is too narrow for the outer headers",
	"drop_truncated": "shorter than a header says",
	"drop_inner":     "no IP packet of the announced family inside",
	"drop_gue":       "a GUE header that xlb does not send",
	"drop_ecn":       "congestion mark for a sender that does not know it (RFC 6040)",
	"drop_resize":    "the kernel did not take the outer headers off",
}

// reasons are the names of the counters by their numbers, from the debug
// information of the program.
func reasons() ([]string, error) {
	spec, err := bpf.LoadDecapXdp()
	if err != nil {
		return nil, err
	}
	var enum *btf.Enum
	if err := spec.Types.TypeByName("decap_reason", &enum); err != nil {
		return nil, fmt.Errorf("names of the counters: %w", err)
	}
	names := make([]string, spec.Maps[countsMap].MaxEntries)
	for _, v := range enum.Values {
		if v.Value < uint64(len(names)) {
			names[v.Value] = strings.ToLower(strings.TrimPrefix(v.Name, "DECAP_"))
		}
	}
	return names, nil
}

// counters reads the pinned counters; none if there are none.
func counters(d Dirs) ([]Counter, error) {
	m, err := ebpf.LoadPinnedMap(d.pin(countsMap), &ebpf.LoadPinOptions{ReadOnly: true})
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open pinned counters: %w", err)
	}
	defer m.Close()
	names, err := reasons()
	if err != nil {
		return nil, err
	}
	var all []Counter
	for n, name := range names {
		var perCPU []uint64
		if err := m.Lookup(uint32(n), &perCPU); err != nil {
			return nil, fmt.Errorf("read counter %s: %w", name, err)
		}
		c := Counter{Reason: name, Meaning: meanings[name]}
		for _, v := range perCPU {
			c.Packets += v
		}
		all = append(all, c)
	}
	return all, nil
}

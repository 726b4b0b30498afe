package importer

import (
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// scheduler translates one of LVS, with its flags.
func (w *work) scheduler(at place, what, name string, flags []string, s *Service) {
	switch name {
	case "rr", "wrr":
		s.Schedule = "round-robin"
	case "lc", "wlc", "twos":
		s.Schedule = "least-connections"
	case "sed", "nq", "lblc", "lblcr", "ovf":
		s.Schedule = "least-connections"
		w.note(at, what, "it became least-connections, which takes the less loaded of two")
	case "fo":
		s.Schedule = "maglev" // among one: see failover
	case "sh":
		s.Schedule = "source-hash"
	case "mh":
		s.Schedule, s.Hash = "maglev", "source"
	case "dh":
		s.Schedule, s.Hash = "maglev", "source-destination"
		w.note(at, what, "one VIP has one destination; it became a hash of source and destination")
	default:
		s.Schedule = "round-robin"
		w.note(at, what, "is not known; it became round-robin")
	}
	for _, f := range flags {
		switch {
		case (name == "sh" || name == "mh") && slices.Contains([]string{"sh-port", "mh-port", "flag-2"}, f):
			s.Schedule, s.Hash = "maglev", "" // the client's port too
		case (name == "sh" || name == "mh") && slices.Contains([]string{"sh-fallback", "mh-fallback", "flag-1"}, f):
			// What cannot serve is always passed over.
		default:
			w.note(at, f, "flags of schedulers have no counterpart")
		}
	}
}

// failover gives members the tiers that the scheduler fo makes of their weights:
// all goes to the highest. Those of a later tier already come after these.
func failover(members []member) {
	var weights []int
	for _, m := range members {
		if m.priority == 0 {
			weights = append(weights, m.weight)
		}
	}
	slices.Sort(weights)
	weights = slices.Compact(weights)
	slices.Reverse(weights)
	for i, m := range members {
		tier := slices.Index(weights, m.weight)
		if m.priority > 0 {
			tier = len(weights)
		}
		members[i].priority = min(tier, 255)
	}
}

// affinity of so many seconds; the granularity is a netmask or, of IPv6, a
// length.
func (w *work) affinity(at place, what string, seconds int, granularity string) *Affinity {
	if seconds == 0 {
		return nil
	}
	out := &Affinity{Timeout: w.seconds(at, what, durationOf(seconds))}
	if mask, err := netip.ParseAddr(granularity); err == nil && mask.Is4() && ones(mask.As4()) > 0 {
		out.IPv4 = ones(mask.As4())
	} else if n, err := strconv.Atoi(granularity); err == nil && n >= 1 && n <= 128 {
		out.IPv6 = n
	} else if granularity != "" {
		w.note(at, granularity, "a client is a prefix of 1 to 32 bits of IPv4, and of 1 to 128 of IPv6")
	}
	return out
}

func ones(mask [4]byte) (n int) {
	for _, b := range mask {
		n += bits.OnesCount8(b)
	}
	return n
}

func durationOf(seconds int) time.Duration { return time.Duration(seconds) * time.Second }

package maps

import (
	"fmt"
	"time"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/pkg/model"
)

// Selection is how the data plane chooses the backend of a new flow. The zero
// value is the table, by the flow's five-tuple.
type Selection struct {
	// Schedule; [model.SourceHash] is [model.Maglev] with another hash, and read
	// back as such.
	Schedule model.Schedule  `json:"schedule,omitzero"`
	Hash     model.HashInput `json:"hash,omitzero"`
	// AffinityTimeout is in whole seconds; 0: there is no affinity. A client is so
	// many bits of its address.
	AffinityTimeout time.Duration `json:"affinity_timeout_ns,omitzero"`
	AffinityIPv4    uint8         `json:"affinity_ipv4,omitzero"`
	AffinityIPv6    uint8         `json:"affinity_ipv6,omitzero"`
	OnePacket       bool          `json:"ops,omitzero"`
	// QUICServerID is the length of a server's ID in connection IDs, 1 to 15; 0:
	// they are not looked at.
	QUICServerID uint8 `json:"quic_server_id_length,omitzero"`
}

var (
	schedules = map[model.Schedule]uint8{
		model.Random: bpf.ScheduleRandom, model.RoundRobin: bpf.ScheduleRoundRobin,
		model.LeastConnections: bpf.ScheduleLeastConnections, model.LeastLatency: bpf.ScheduleLeastLatency,
	}
	hashInputs = map[model.HashInput]uint8{
		model.HashSource: bpf.HashSource, model.HashSourceDestination: bpf.HashSourceDestination,
		model.HashDestinationPort: bpf.HashDestinationPort,
	}
)

const maxServerID = len(bpf.QuicKey{}.Id)

// encode puts what is beside the usual into a service.
func (s Selection) encode(out *bpf.Service) error {
	hash := s.Hash
	switch {
	case s.Schedule == model.SourceHash:
		hash = model.HashSource
	case s.Schedule != model.Maglev:
		var ok bool
		if out.Schedule, ok = schedules[s.Schedule]; !ok {
			return fmt.Errorf("the data plane has no schedule %v", s.Schedule)
		}
		out.Options |= bpf.OptionSchedule
	}
	if hash != model.HashFiveTuple {
		var ok bool
		if out.HashInput, ok = hashInputs[hash]; !ok {
			return fmt.Errorf("the data plane has no hash input %v", hash)
		}
		out.Options |= bpf.OptionHash
	}
	if s.AffinityTimeout > 0 {
		if s.AffinityIPv4 < 1 || s.AffinityIPv4 > 32 || s.AffinityIPv6 < 1 || s.AffinityIPv6 > 128 {
			return fmt.Errorf("affinity of IPv4 /%d and IPv6 /%d (want 1 to 32 and 1 to 128 bits)", s.AffinityIPv4, s.AffinityIPv6)
		}
		out.AffinityTimeout, out.AffinityIpv4, out.AffinityIpv6 = ticks(s.AffinityTimeout), s.AffinityIPv4, s.AffinityIPv6
		out.Options |= bpf.OptionAffinity
	}
	if s.OnePacket {
		out.Options |= bpf.OptionOnePacket
	}
	if s.QUICServerID > 0 {
		if int(s.QUICServerID) > maxServerID {
			return fmt.Errorf("server IDs of %d octets in connection IDs (want at most %d)", s.QUICServerID, maxServerID)
		}
		out.QuicServerId = s.QUICServerID
		out.Options |= bpf.OptionQUIC
	}
	return nil
}

// decodeSelection is the inverse of [Selection.encode].
func decodeSelection(s bpf.Service) (out Selection) {
	if s.Options&bpf.OptionSchedule != 0 {
		out.Schedule = keyOf(schedules, s.Schedule)
	}
	if s.Options&bpf.OptionHash != 0 {
		out.Hash = keyOf(hashInputs, s.HashInput)
	}
	if s.Options&bpf.OptionAffinity != 0 {
		out.AffinityTimeout, out.AffinityIPv4, out.AffinityIPv6 = seconds(s.AffinityTimeout), s.AffinityIpv4, s.AffinityIpv6
	}
	out.OnePacket = s.Options&bpf.OptionOnePacket != 0
	if s.Options&bpf.OptionQUIC != 0 {
		out.QUICServerID = s.QuicServerId
	}
	return out
}

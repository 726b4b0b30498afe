package maps

import (
	"fmt"
	"time"

	"github.com/xlb-io/xlb/bpf"
)

// How long a daemon is there after its heartbeat.
const heartbeatLife = bpf.HeartbeatLife * time.Millisecond

// Heartbeat says that the daemon takes upcalls for the next second. Say it a few
// times a second.
func (s *Set) Heartbeat() error { return s.putHeartbeat(coarse()) }

// Away says that the daemon takes none any more.
func (s *Set) Away() error { return s.putHeartbeat(0) }

func (s *Set) putHeartbeat(at time.Duration) error {
	if err := s.maps[heartbeatName].Put(uint32(0), uint64(at)); err != nil {
		return fmt.Errorf("write map %s: %w", heartbeatName, err)
	}
	return nil
}

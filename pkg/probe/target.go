package probe

import (
	"net/netip"
	"slices"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// Key names a target: a backend of a service.
type Key struct {
	Service string
	Backend netip.AddrPort
}

// Target is a backend to probe. An interval or timeout below 10 ms counts as
// 10 ms, a rise or fall below 1 as 1, a jitter beyond 0 to 50 as the nearest.
type Target struct {
	Service string
	Backend netip.AddrPort
	Probe   model.Probe
	// Via is the way to the backend; the zero value is the direct one.
	Via Via
}

// Key returns the name of t.
func (t Target) Key() Key { return Key{t.Service, t.Backend} }

// wayOf is where the checks of t go. What a check is told beyond that keeps it from
// being shared.
func wayOf(t Target) way {
	w := way{to: address(t), Via: t.Via}
	if t.Probe.Type == model.ProbeExec || individual(t.Probe.HTTP.Path) || individual(t.Probe.Talk.Send) { // is told service and backend
		w.of = t.Key()
	}
	return w
}

// shortest keeps a target that was never given an interval from being probed
// without a pause.
const shortest = 10 * time.Millisecond

// normal returns t with its own copy of what it points to and all numbers
// within their range.
func (t Target) normal() Target {
	t.Probe.Interval = max(t.Probe.Interval, shortest)
	t.Probe.Jitter = min(max(t.Probe.Jitter, 0), 50)
	t.Probe.Timeout = max(t.Probe.Timeout, shortest)
	t.Probe.Rise = max(t.Probe.Rise, 1)
	t.Probe.Fall = max(t.Probe.Fall, 1)
	t.Probe.HTTP.Status = slices.Clone(t.Probe.HTTP.Status)
	t.Probe.Command = slices.Clone(t.Probe.Command)
	return t
}

//go:build wasip1

// Time-window routes new flows by weekday and time of day.
package main

import (
	"github.com/xlb-io/xlb/plugins/sdk/go/xlb"
	"github.com/xlb-io/xlb/plugins/sdk/go/xlb/flow"
	"github.com/xlb-io/xlb/plugins/time-window/week"
)

// The reasons of the manifest.
const (
	reasonRouted = iota + 1
	reasonRefused
)

var schedule = new(week.Schedule)

func init() {
	xlb.Configure(week.Parse, func(s *week.Schedule) { schedule = s })
	flow.Handle(decide)
}

func main() {}

func decide(flow.Flow) flow.Verdict {
	switch a := schedule.At(xlb.Wall()); a {
	case week.Continue:
		return flow.Continue(0)
	case week.Drop:
		return flow.Drop(reasonRefused)
	case week.Reject:
		return flow.Reject(reasonRefused)
	default:
		return flow.Subset(uint32(a-week.Group1), reasonRouted)
	}
}

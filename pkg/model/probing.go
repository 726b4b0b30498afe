package model

import (
	"math"
	"time"
)

// ProbeStrategy is how many checks run at the same time.
type ProbeStrategy uint8

// The strategies.
const (
	// ProbePool runs up to a number of checks; those that are due most wait
	// least.
	ProbePool ProbeStrategy = iota + 1
	// ProbeSerial runs one after the other.
	ProbeSerial
	// ProbeUnlimited lets none wait.
	ProbeUnlimited
)

var strategyNames = map[ProbeStrategy]string{ProbePool: "pool", ProbeSerial: "serial", ProbeUnlimited: "unlimited"}

func (s ProbeStrategy) String() string { return nameOf(strategyNames, s) }

// MarshalText implements [encoding.TextMarshaler].
func (s ProbeStrategy) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *ProbeStrategy) UnmarshalText(b []byte) error {
	return parse(s, strategyNames, "probe strategy", b)
}

// DefaultProbeWorkers is the size of a pool that nobody sized.
const DefaultProbeWorkers = 1024

// Probing is how the checks of all services are run; the zero value is a pool of
// [DefaultProbeWorkers].
type Probing struct {
	Strategy ProbeStrategy
	// Workers is the size of the pool, 1 to 65,536; 0: the default.
	Workers int
}

// Limit is how many checks may run at the same time.
func (p Probing) Limit() int {
	switch {
	case p.Strategy == ProbeSerial:
		return 1
	case p.Strategy == ProbeUnlimited:
		return math.MaxInt
	case p.Workers > 0:
		return p.Workers
	}
	return DefaultProbeWorkers
}

// Pause is the time from the start of one check to the start of the next, without
// jitter. Passed is the outcome of the last check; down says whether the backend
// counts as unhealthy, and failures how many checks failed since it does.
func (p Probe) Pause(passed, down bool, failures int) time.Duration {
	if passed && !down {
		return p.Interval
	}
	pause := p.Interval
	if p.IntervalFailing > 0 {
		pause = p.IntervalFailing
	}
	if passed || !down {
		return pause
	}
	for range failures {
		if pause >= p.BackoffMax {
			break
		}
		pause = min(2*pause, p.BackoffMax)
	}
	return pause
}

package model

import "time"

// Outcomes is what a service makes of connections that its backends refuse, reset
// or do not answer. TCP only.
type Outcomes struct {
	// Count: the data plane counts what becomes of connections, and records each of
	// them. Set if any of the others is.
	Count bool
	Eject Eject
	// Retries is how many other backends a SYN that was refused or not answered may
	// go to, 0 to 3. [NAT] and [DNAT] only.
	Retries int
}

// MaxRetries is the most that [Outcomes.Retries] can be.
const MaxRetries = 3

// Eject is when a backend whose connections fail takes no new ones, and how it
// comes back. The zero value never ejects.
type Eject struct {
	On bool
	// Failures is the share of attempts, in per cent, that ejects if it fails within
	// Window, and there were at least MinAttempts. 1 to 100.
	Failures    int
	MinAttempts int
	Window      time.Duration
	// Consecutive failures eject without regard to shares; 0: not.
	Consecutive int
	// Resets is the share of answered connections, in per cent, that ejects if the
	// backend resets it within Window, and at least MinAttempts were answered; 0: they
	// are not looked at. [NAT] and [DNAT] only.
	Resets int
	// Time is how long the first ejection lasts, 1 s to 1 h; each further one twice
	// as long as that before, up to MaxTime. One that served for MaxTime begins anew.
	Time, MaxTime time.Duration
	// MaxEjected is the share of the usable backends, in per cent and rounded down,
	// that may be ejected at a time.
	MaxEjected int
	// Trials are the connections that must succeed, with TrialWeight per cent of the
	// backend's weight, before it is trusted again; the first that fails ejects.
	Trials, TrialWeight int
}

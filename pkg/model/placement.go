package model

import "time"

// Placement is which of a service's backends take part: by role, zone and tier.
type Placement struct {
	// Subset: only these backends take part. The zero value is all.
	Subset Subset
	Tiers  Tiers
	Zones  Zones
	// PanicThreshold is the share, 1 to 100 per cent by weight, of the backends
	// that serve below which the unhealthy ones are used too; 0: only when
	// none is left ([FailOpen]).
	PanicThreshold int
	// SlowStart is the time in which the weight of a backend that came up grows
	// to the whole; 0: at once.
	SlowStart time.Duration
	// DrainTimeout is how long a backend that drains keeps its flows; 0: until
	// they end.
	DrainTimeout time.Duration
}

// Tiers say when another tier serves than the lowest.
type Tiers struct {
	// MinHealthy is the share, 1 to 100 per cent by weight, of a tier's backends
	// that must be usable for it to serve; 0: one backend is enough.
	MinHealthy int
	WhenLow    WhenLow
	// ReturnAfter is how long a tier must be good before it takes back what
	// another one took over.
	ReturnAfter time.Duration
}

// WhenLow is what becomes of the usable backends of a tier that has too few.
type WhenLow uint8

// The modes of a tier that has too few usable backends.
const (
	// LowSwitch leaves them out: the next tier takes over.
	LowSwitch WhenLow = iota
	// LowAdd uses them beside those of the next tier.
	LowAdd
)

// Zones say how new flows are spread over zones.
type Zones struct {
	// PreferOwn: new flows stay in the balancer's own zone, [Settings.Zone],
	// as far as it is healthy.
	PreferOwn bool
	// EqualShare: each zone gets the same share, whatever its backends.
	EqualShare bool
	// MinHealthy is the share, 1 to 100 per cent by weight, of a zone's backends
	// that must be usable for it to get all of its share; below it gets less in
	// proportion.
	MinHealthy int
}

var lowNames = map[WhenLow]string{LowSwitch: "switch", LowAdd: "add"}

func (w WhenLow) String() string { return nameOf(lowNames, w) }

// MarshalText implements [encoding.TextMarshaler].
func (w WhenLow) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (w *WhenLow) UnmarshalText(b []byte) error {
	return parse(w, lowNames, "mode of a low tier", b)
}

// String is the subset as the configuration writes it.
func (s Subset) String() string {
	switch {
	case s.Zone == "":
		return "tag " + s.Tag
	case s.Tag == "":
		return "zone " + s.Zone
	}
	return "tag " + s.Tag + ", zone " + s.Zone
}

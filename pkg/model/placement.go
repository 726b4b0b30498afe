package model

// Placement is which of a service's backends take part: by role, zone and tier.
type Placement struct{}

package control


// Answer is what policies said about a backend's weight; the zero value is
// nothing.
type Answer struct {
	// Weight and Tier replace the configured ones.
	Weight *uint16
	Tier   *uint8
	// Eject takes it out of the table for the Reason given.
	Eject  bool
	Reason string
}

// weigh applies a to a backend. What the operator says comes after it.
func (a Answer) weigh(b *BackendState) {
	if a.Weight != nil {
		b.Weight = *a.Weight
	}
	if a.Tier != nil {
		b.Tier = *a.Tier
	}
}

func (a Answer) equal(b Answer) bool {
	same := func(x, y *uint16) bool { return (x == nil) == (y == nil) && (x == nil || *x == *y) }
	return same(a.Weight, b.Weight) && (a.Tier == nil) == (b.Tier == nil) && (a.Tier == nil || *a.Tier == *b.Tier) &&
		a.Eject == b.Eject && a.Reason == b.Reason
}

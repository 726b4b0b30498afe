package model

// RoleChoice is which of a service's backends take part by what probes say they
// are; the zero value is all of them.
type RoleChoice struct {
	// Role takes the connections, for example "primary".
	Role string
	// Fallback serves while no backend of the role can.
	Fallback RoleFallback
	// FallbackRole is the role of [FallbackRole].
	FallbackRole string
	// Exclusive is a role of which there is one: of several backends that say that
	// they have it, the one that took it last does, and no other is used. Empty:
	// each is believed.
	Exclusive string
}

// RoleFallback is who serves while no backend of the role can.
type RoleFallback uint8

// The fallbacks.
const (
	// FallbackNone is nobody.
	FallbackNone RoleFallback = iota
	// FallbackAny is every backend, whatever its role.
	FallbackAny
	// FallbackRole is the backends of another role.
	FallbackRole
)

// FallbackText is the fallback as the configuration writes it.
func (r RoleChoice) FallbackText() string {
	return [...]string{FallbackNone: "none", FallbackAny: "any", FallbackRole: r.FallbackRole}[r.Fallback]
}

// StandsIn says whether a backend of a role serves when none of the service's can.
func (r RoleChoice) StandsIn(role string) bool {
	return r.Fallback == FallbackAny || r.Fallback == FallbackRole && role == r.FallbackRole
}

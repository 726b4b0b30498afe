package model

import "regexp"

// The labels of backends: what [ValidZone], [ValidTag] and [ValidServerID] match.
const (
	ZonePattern = `^[^\x00-\x1f\x7f]{1,63}$`
	// Commas separate tags where a policy sees them.
	TagPattern = `^[^,\s\x00-\x1f\x7f]{1,63}$`
	// MaxLabel is the most bytes of either.
	MaxLabel = 63
	// ServerIDPattern is 1 to 15 octets in hexadecimal digits.
	ServerIDPattern = `^([0-9A-Fa-f]{2}){1,15}$`
	MaxServerID     = 30
)

var zoneExp, tagExp, serverIDExp = regexp.MustCompile(ZonePattern), regexp.MustCompile(TagPattern), regexp.MustCompile(ServerIDPattern)

// ValidZone says whether a backend can be in a zone of that name; empty is none.
func ValidZone(s string) bool { return s == "" || len(s) <= MaxLabel && zoneExp.MatchString(s) }

// ValidTag says whether a backend can have that tag.
func ValidTag(s string) bool { return len(s) <= MaxLabel && tagExp.MatchString(s) }

// ValidServerID says whether connection IDs of QUIC can call a backend so; empty is
// by its address.
func ValidServerID(s string) bool { return s == "" || serverIDExp.MatchString(s) }

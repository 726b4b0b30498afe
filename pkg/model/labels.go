package model

import "regexp"

// The labels of backends: what [ValidZone] and [ValidTag] match.
const (
	ZonePattern = `^[^\x00-\x1f\x7f]{1,63}$`
	// Commas separate tags where a policy sees them.
	TagPattern = `^[^,\s\x00-\x1f\x7f]{1,63}$`
	// MaxLabel is the most bytes of either.
	MaxLabel = 63
)

var zoneExp, tagExp = regexp.MustCompile(ZonePattern), regexp.MustCompile(TagPattern)

// ValidZone says whether a backend can be in a zone of that name; empty is none.
func ValidZone(s string) bool { return s == "" || len(s) <= MaxLabel && zoneExp.MatchString(s) }

// ValidTag says whether a backend can have that tag.
func ValidTag(s string) bool { return len(s) <= MaxLabel && tagExp.MatchString(s) }

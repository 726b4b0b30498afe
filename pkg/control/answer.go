package control

import (
	"cmp"
	"fmt"
	"strings"
)

// Answer is what policies said about a backend; the zero value is nothing.
type Answer struct {
	// Weight and Tier replace the configured ones.
	Weight *uint16
	Tier   *uint8
	// Eject takes it out of the table for the Reason given.
	Eject  bool
	Reason string
	// Shadow is what policies in shadow mode would have said, in words.
	Shadow string
}

// weigh applies a to a backend. What the operator says comes after it.
func (a Answer) weigh(b *BackendState) {
	if a.Weight != nil {
		b.Weight = *a.Weight
	}
	if a.Tier != nil {
		b.Tier = *a.Tier
	}
	b.Answer = a
}

// and is a with what a later policy said on top.
func (a Answer) and(b Answer) Answer {
	a.Weight, a.Tier = cmp.Or(b.Weight, a.Weight), cmp.Or(b.Tier, a.Tier)
	a.Eject, a.Reason = a.Eject || b.Eject, cmp.Or(a.Reason, b.Reason)
	if a.Shadow != "" && b.Shadow != "" {
		a.Shadow += "; "
	}
	a.Shadow += b.Shadow
	return a
}

func (a Answer) equal(b Answer) bool {
	return same(a.Weight, b.Weight) && same(a.Tier, b.Tier) && a.Eject == b.Eject && a.Reason == b.Reason && a.Shadow == b.Shadow
}

func same[V comparable](a, b *V) bool { return a == b || a != nil && b != nil && *a == *b }

// words are a as a policy's wish; empty if it has none.
func (a Answer) words(policy string) string {
	var wishes []string
	if a.Weight != nil {
		wishes = append(wishes, fmt.Sprintf("weight %d", *a.Weight))
	}
	if a.Tier != nil {
		wishes = append(wishes, fmt.Sprintf("tier %d", *a.Tier))
	}
	if a.Eject {
		wishes = append(wishes, "eject")
	}
	if len(wishes) == 0 {
		return ""
	}
	return policy + " would say " + strings.Join(wishes, ", ")
}

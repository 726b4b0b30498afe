package policytest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/policy"
)

// Action is a verdict's action by its name.
type Action policy.Action

var actionNames = []string{
	policy.ActionContinue: "continue", policy.ActionDrop: "drop", policy.ActionReject: "reject",
	policy.ActionBackend: "backend", policy.ActionSubset: "subset", policy.ActionHash: "hash",
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (a *Action) UnmarshalText(b []byte) error { return named(a, actionNames, "action", b) }

func (a Action) String() string { return nameOf(a, actionNames) }

// state is a backend's by its name.
type state policy.BackendState

var stateNames = []string{
	policy.StateUnknown: "unknown", policy.StateUp: "up", policy.StateDown: "down", policy.StateDraining: "draining",
}

func (s *state) UnmarshalText(b []byte) error { return named(s, stateNames, "state", b) }

func nameOf[T ~uint8](v T, names []string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprint(uint8(v))
}

// named sets *v to the place of a text in names.
func named[T ~uint8](v *T, names []string, what string, text []byte) error {
	i := slices.Index(names, string(text))
	if i < 0 {
		return fmt.Errorf("unknown %s %q (known: %s)", what, text, strings.Join(names, ", "))
	}
	*v = T(i)
	return nil
}

// SYN is the flag of a first packet.
const SYN = 1 << 1

// flagNames are the TCP flags from the lowest bit of the header's byte 13 on.
var flagNames = []string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"}

// TCPFlags are the flags of a TCP header, its byte 13.
type TCPFlags uint8

// UnmarshalText reads names with commas between, such as "syn" or "syn,ack".
func (f *TCPFlags) UnmarshalText(b []byte) error {
	*f = 0
	for _, word := range strings.Split(string(b), ",") {
		bit := slices.Index(flagNames, strings.TrimSpace(word))
		if bit < 0 {
			return fmt.Errorf("%q is no TCP flag (known: %s; several with commas between)", word, strings.Join(flagNames, ", "))
		}
		*f |= 1 << bit
	}
	return nil
}

// String is what UnmarshalText reads; empty without flags.
func (f TCPFlags) String() string {
	var words []string
	for i, name := range flagNames {
		if f&(1<<i) != 0 {
			words = append(words, name)
		}
	}
	return strings.Join(words, ",")
}

// duration is a time such as 200ms; none is negative.
type duration time.Duration

func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no duration (for example 200ms or 2s)", b)
	}
	*d = duration(v)
	return nil
}

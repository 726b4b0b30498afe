package policytest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/policy"
)

// state is a backend's by its name.
type state policy.BackendState

var stateNames = []string{
	policy.StateUnknown: "unknown", policy.StateUp: "up", policy.StateDown: "down", policy.StateDraining: "draining",
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *state) UnmarshalText(b []byte) error {
	i := slices.Index(stateNames, string(b))
	if i < 0 {
		return fmt.Errorf("unknown state %q (known: %s)", b, strings.Join(stateNames, ", "))
	}
	*s = state(i)
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

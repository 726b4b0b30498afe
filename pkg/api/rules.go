package api

import "time"

// Rules are whom a service takes packets of, where it steers them, and how many new
// flows it takes.
type Rules struct {
	// Allow, Deny and Steer are how many prefixes the lists hold, those of files and
	// countries included; Prefixes is how many the kernel looks through. All are 0
	// of a service without lists.
	Allow    int `json:"allow"`
	Deny     int `json:"deny"`
	Steer    int `json:"steer"`
	Prefixes int `json:"prefixes"`
	// Subsets are those that sources are steered to.
	Subsets []RuleSubset `json:"subsets,omitempty"`
	// Files are those that the lists name, sorted.
	Files []RuleFile `json:"files,omitempty"`
	// Rate and RatePerSource are limits of new flows; nil: none.
	Rate          *RuleRate `json:"rate,omitempty"`
	RatePerSource *RuleRate `json:"rate_per_source,omitempty"`
	// MaxConnections is how many flows may be open at a time, 0: no limit, and
	// Connections how many are.
	MaxConnections int `json:"max_connections,omitempty"`
	Connections    int `json:"connections,omitempty"`
}

// RuleSubset is a part of a service's backends.
type RuleSubset struct {
	Tag  string `json:"tag,omitempty"`
	Zone string `json:"zone,omitempty"`
	// Backends belong to it, of which Usable can take new flows.
	Backends int `json:"backends"`
	Usable   int `json:"usable"`
	// FallsBack: none can, and the whole service takes its flows.
	FallsBack bool `json:"falls_back"`
}

// RuleFile is a file of prefixes or a GeoIP database.
type RuleFile struct {
	Path string `json:"path"`
	// Prefixes that it holds.
	Prefixes int `json:"prefixes"`
	// Modified is when the content that is in force was written to the file.
	Modified time.Time `json:"modified"`
	// Error is what is wrong with the file now; then what it held before is in
	// force. Empty if nothing is.
	Error string `json:"error,omitempty"`
}

// RuleRate is a limit of new flows. IPv4 and IPv6 are the lengths of the prefixes
// that count as a source; 0 if all sources share the limit.
type RuleRate struct {
	PerSecond int `json:"per_second"`
	Burst     int `json:"burst"`
	IPv4      int `json:"ipv4,omitempty"`
	IPv6      int `json:"ipv6,omitempty"`
}

// Refused are the packets that a service did not take because of its rules, by
// cause. They are among those that its traffic counts as dropped.
type Refused struct {
	// Denied and NotAllowed are packets of sources on the deny list, and not on the
	// allow list.
	Denied     uint64 `json:"denied"`
	NotAllowed uint64 `json:"not_allowed"`
	// Rate, RatePerSource and MaxConnections are first packets of flows beyond a
	// limit.
	Rate           uint64 `json:"rate"`
	RatePerSource  uint64 `json:"rate_per_source"`
	MaxConnections uint64 `json:"max_connections"`
}

// Causes are the counts with their names, in one order.
func (r Refused) Causes() []RefusedCount {
	return []RefusedCount{
		{"denied", r.Denied}, {"not_allowed", r.NotAllowed}, {"rate", r.Rate},
		{"rate_per_source", r.RatePerSource}, {"max_connections", r.MaxConnections},
	}
}

// RefusedCount is one of [Refused].
type RefusedCount struct {
	Cause   string
	Packets uint64
}

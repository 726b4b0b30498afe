package model

import (
	"net/netip"
	"time"
)

// Rules say which packets of a service are taken, which backends they may have,
// and how many new flows there may be.
type Rules struct {
	// Allow, if not nil, is whom alone the service takes, and Deny whom it does
	// not. If both hold a source the longer prefix decides, of equal ones Deny.
	Allow, Deny []Origin
	// Steer sends sources to subsets: the first that matches decides.
	Steer []Steer
	// Default is where all other sources go; the zero value is the whole service.
	Default Subset
	Rate    Rate
	// RatePerSource holds for the addresses of each prefix of SourceIPv4 bits, 1
	// to 32, or of SourceIPv6 bits, 1 to 128.
	RatePerSource          Rate
	SourceIPv4, SourceIPv6 int
	// MaxConnections is how many flows may be open at a time; 0: no limit.
	MaxConnections int
}

// Origin is where packets come from: a prefix, or those of a file.
type Origin struct {
	Prefix netip.Prefix
	// File is a key of [Config.Networks]; empty if Prefix is valid.
	File string
}

// Steer sends sources to a subset: those of From, or those that the database
// GeoIP places in one of Countries or Continents.
type Steer struct {
	From []Origin
	// GeoIP is a key of [Config.Networks].
	GeoIP string
	// Countries are two letters of ISO 3166-1, Continents one of AF, AN, AS, EU,
	// NA, OC, SA.
	Countries, Continents []string
	To                    Subset
}

// Rate is a limit of new flows; the zero value is none.
type Rate struct {
	// PerSecond and Burst, how many may come at once, are 1 to 10,000,000.
	PerSecond, Burst int
}

// Networks are what a file of prefixes or a GeoIP database holds. They are shared
// and never changed.
type Networks struct {
	// Prefixes of a file.
	Prefixes []netip.Prefix
	// Places are the networks of a database.
	Places map[Place][]netip.Prefix
	// Modified and Size are the file's, from before it was read.
	Modified time.Time
	Size     int64
}

// Len is the number of prefixes.
func (n *Networks) Len() int {
	sum := len(n.Prefixes)
	for _, list := range n.Places {
		sum += len(list)
	}
	return sum
}

// Place is what a GeoIP database says of a network; what it does not say is empty.
type Place struct{ Country, Continent string }

// Files are the names of the files that the rules need, each once.
func (r Rules) Files() []string {
	var out []string
	seen := map[string]bool{}
	add := func(file string) {
		if file != "" && !seen[file] {
			seen[file] = true
			out = append(out, file)
		}
	}
	for _, list := range [][]Origin{r.Allow, r.Deny} {
		for _, o := range list {
			add(o.File)
		}
	}
	for _, s := range r.Steer {
		add(s.GeoIP)
		for _, o := range s.From {
			add(o.File)
		}
	}
	return out
}

// Lists says whether sources have to be looked up.
func (r Rules) Lists() bool { return r.Allow != nil || len(r.Deny) > 0 || r.Steers() }

// Steers says whether some source goes to a subset.
func (r Rules) Steers() bool { return len(r.Steer) > 0 || r.Default != (Subset{}) }

// Subsets are those that sources are sent to, each once, the default among them.
func (r Rules) Subsets() []Subset {
	var out []Subset
	seen := map[Subset]bool{{}: true}
	add := func(s Subset) {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	for _, s := range r.Steer {
		add(s.To)
	}
	add(r.Default)
	return out
}

// Limits says whether new flows are counted.
func (r Rules) Limits() bool {
	return r.Rate.PerSecond > 0 || r.RatePerSource.PerSecond > 0 || r.MaxConnections > 0
}

// Verdict is what the lists of a service say of a source.
type Verdict uint8

// The verdicts.
const (
	// Taken: no list is against it.
	Taken Verdict = iota
	// Denied: the deny list holds it, by the longer prefix or by one as long.
	Denied
	// NotAllowed: there is an allow list, which does not hold it.
	NotAllowed
)

var verdictNames = map[Verdict]string{Taken: "taken", Denied: "denied", NotAllowed: "not-allowed"}

func (v Verdict) String() string { return nameOf(verdictNames, v) }

// MarshalText implements [encoding.TextMarshaler].
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (v *Verdict) UnmarshalText(b []byte) error { return parse(v, verdictNames, "verdict", b) }

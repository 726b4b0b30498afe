package demo

import (
	"fmt"
	"math"
	"net/netip"
)

// Figures are what the demo measured.
type Figures struct {
	// Requests of the first step, HTTP and UDP over both families, each a
	// connection or flow of its own, and how many of them Failed.
	Requests int `json:"requests"`
	Failed   int `json:"failed"`
	// PerBackend are the answered ones by backend, which goes by its IPv4
	// address.
	PerBackend map[netip.Addr]int `json:"per_backend"`
	// Weights of the backends.
	Weights map[netip.Addr]int `json:"weights"`
	// AttachMode is "native", "generic" or "tc".
	AttachMode string `json:"attach_mode"`

	// FailoverMS is the time in milliseconds from a backend's death until no
	// service gave it new connections. FailoverRequests began in that time;
	// FailoverFailed failed by the death.
	FailoverMS       int64 `json:"failover_ms"`
	FailoverRequests int   `json:"failover_requests"`
	FailoverFailed   int   `json:"failover_failed"`
	// ReturnRequests began after that, until the backend served again.
	ReturnRequests int `json:"return_requests"`
	ReturnFailed   int `json:"return_failed"`

	// DrainRequests are those of the step in which a backend is drained, and
	// DrainDownloads what the backend was sending then; DrainInterrupted of
	// these were cut off. DrainFailed is all that failed, requests and
	// downloads.
	DrainRequests    int `json:"drain_requests"`
	DrainDownloads   int `json:"drain_downloads"`
	DrainInterrupted int `json:"drain_interrupted"`
	DrainFailed      int `json:"drain_failed"`

	// CrashRequests are those of the step in which the daemon is killed, and
	// CrashDownloads the downloads it was killed under; CrashInterrupted of
	// these did not go on to a right end.
	CrashRequests    int `json:"crash_requests"`
	CrashFailed      int `json:"crash_failed"`
	CrashDownloads   int `json:"crash_downloads"`
	CrashInterrupted int `json:"crash_interrupted"`
	// CrashMS is the time in milliseconds without a daemon, from its death
	// until the next one was ready.
	CrashMS int64 `json:"crash_ms"`

	// Problems are the promises that were broken, in words.
	Problems []string `json:"problems"`
	Seconds  float64  `json:"seconds"`
}

// AttachText is the attach mode in words, such as "native XDP".
func (f *Figures) AttachText() string {
	switch f.AttachMode {
	case "native", "generic":
		return f.AttachMode + " XDP"
	case "tc":
		return "TC"
	}
	return f.AttachMode
}

// broken notes a broken promise.
func (f *Figures) broken(format string, args ...any) {
	f.Problems = append(f.Problems, fmt.Sprintf(format, args...))
}

// noneFailed notes failures where none is allowed.
func (f *Figures) noneFailed(failed int, when string, first error) {
	if failed > 0 {
		f.broken("%d requests failed %s (the first: %v)", failed, when, first)
	}
}

// deviations is how far from its share a count may be. Every connection draws
// its backend by a hash, so counts are binomial; at five standard deviations
// chance alone breaks one run of this demo in 100,000.
const deviations = 5

// inProportion checks counts of independent draws against weights, and says
// which is off.
func inProportion(counts, weights []int) error {
	total, sum := 0, 0
	for i := range counts {
		total += counts[i]
		sum += weights[i]
	}
	for i, n := range counts {
		p := float64(weights[i]) / float64(sum)
		want := p * float64(total)
		allowed := deviations * math.Sqrt(want*(1-p))
		if math.Abs(float64(n)-want) > allowed {
			return fmt.Errorf("%d of %d went to the backend of weight %d, want %.0f ± %.0f", n, total, weights[i], want, allowed)
		}
	}
	return nil
}

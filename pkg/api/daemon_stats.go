package api

// ProbeStats count health checks.
type ProbeStats struct {
	// Backends are probed or not, Checks are those that are repeated now (backends
	// for which the same is asked share one), and Running how many run at this
	// moment.
	Backends int `json:"backends"`
	Checks   int `json:"checks"`
	Running  int `json:"running"`
	// Passed and Failed count checks, and Skipped those that failed for the load
	// balancer's own reasons and say nothing of the backend.
	Passed  uint64 `json:"passed"`
	Failed  uint64 `json:"failed"`
	Skipped uint64 `json:"skipped"`
	// Late counts the starts of checks by how much later than due they were, and
	// LateSeconds is the sum.
	Late        []LateStats `json:"late"`
	LateSeconds float64     `json:"late_seconds"`
}

// LateStats count checks that started later than due by at most so much, and by
// more than those before.
type LateStats struct {
	// UpToSeconds is 0 for those that have no bound.
	UpToSeconds float64 `json:"up_to_seconds"`
	Checks      uint64  `json:"checks"`
}

// HookStats count what became of changes that a program or a web server was to be
// told.
type HookStats struct {
	// Hook is the program's path or the URL without its query.
	Hook string `json:"hook"`
	// Told and Failed count changes, Dropped those that found the queue full or
	// waited when the hook was removed, and Retried requests that were sent again.
	Told    uint64 `json:"told"`
	Failed  uint64 `json:"failed"`
	Dropped uint64 `json:"dropped"`
	Retried uint64 `json:"retried"`
	// Waiting is how many changes wait now.
	Waiting int `json:"waiting"`
	// Error is why the last change was not told; empty if it was.
	Error string `json:"error,omitempty"`
}

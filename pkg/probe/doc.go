// Package probe finds out whether backends are alive.
//
// There is one file per kind of check. A [Runner] runs the
// checks of all targets from one scheduler with bounded parallelism, counts
// rise and fall, and reports what changed.
package probe

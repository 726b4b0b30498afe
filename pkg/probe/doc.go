// Package probe finds out whether backends are alive.
//
// There is one file per check (none, tcp, http and https). A [Runner] runs the
// checks of all targets from one scheduler with bounded parallelism, counts
// rise and fall, and reports what changed.
package probe

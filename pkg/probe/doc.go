// Package probe finds out whether backends are alive, and what they are.
//
// There is one file per kind of check. A [Runner] repeats the checks of all targets
// from one scheduler with bounded parallelism; targets that ask the same share a
// check. It counts rise and fall, and reports what changed.
package probe

// Package notify tells programs and web servers what becomes of backends.
//
// Each hook has a queue of its own and is told one change at a time, so that it
// hears of them in order. Who tells never waits: a queue that is full loses its
// oldest change, which is counted. docs/probes.md is the contract of what a hook
// gets.
package notify

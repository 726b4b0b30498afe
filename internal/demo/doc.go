// Package demo is the scenario of `xlb demo`: a small network of namespaces on
// this machine, the real daemon in the middle of it, and real clients that show
// what it promises: balance by weights, a failover, a drain without a failure,
// and a crash of the daemon that interrupts nothing.
//
// The daemon is the running program again, started as `xlb run` and steered by
// its socket and by signals, so the demo proves what a user would get. It needs
// root and leaves nothing behind, however it ends; what a killed demo left, the
// next one removes.
package demo

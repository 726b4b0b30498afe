// Package maps is the typed view of every BPF map: what each holds, how it is
// encoded, how two states differ, and how a difference is written.
//
// The control plane decides [Contents]; the data plane counts and keeps flows,
// which are only read here. Needs Linux 5.18 or later.
package maps

// SPDX-License-Identifier: Apache-2.0

//go:build wasip1

package xlb

import "unsafe"

// The levels of [Log].
const (
	Debug uint32 = iota
	Info
	Warn
	Error
)

// Log writes to xlb's log: at most 1024 bytes, and some ten lines a second.
func Log(level uint32, text string) {
	hostLog(level, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
}

//go:wasmimport xlb log
//go:noescape
func hostLog(level uint32, text unsafe.Pointer, length uint32)

// Now returns monotonic nanoseconds.
//
//go:wasmimport xlb now
func Now() uint64

// Random returns a random number.
//
//go:wasmimport xlb random
func Random() uint64

// Count adds to a counter of the manifest, by its place in the list.
//
//go:wasmimport xlb count
func Count(counter uint32, delta int64)

// Lookup looks an address up in a table of the manifest, by its place in the
// list. It returns the entry's value, 0 or more, or -1 if there is none.
func Lookup(table uint32, key Address) int64 { return tableLookup(table, key.Hi, key.Lo) }

// LookupInteger looks an integer up in a table of the manifest, by its place in
// the list. It returns the entry's value, 0 or more, or -1 if there is none.
func LookupInteger(table uint32, key uint64) int64 { return tableLookup(table, 0, key) }

//go:wasmimport xlb table_lookup
func tableLookup(table uint32, hi, lo uint64) int64

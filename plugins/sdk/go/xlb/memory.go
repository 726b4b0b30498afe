// SPDX-License-Identifier: Apache-2.0

//go:build wasip1

package xlb

import (
	"runtime"
	"unsafe"
)

// Yield gives the garbage collector its turn: a module has one thread, and the
// collector waits until it is given up. Without it memory only grows from call to
// call. It is for the packages of the hooks, whose calls may allocate.
func Yield() { runtime.Gosched() }

// The host's buffer: of words, so that it is aligned. Its next use overwrites it.
var buffer []uint64

//go:wasmexport alloc
func alloc(size uint32) uint32 {
	Yield()
	if words := (uint64(size) + 7) / 8; uint64(len(buffer)) < words {
		buffer = make([]uint64, words)
	}
	if len(buffer) == 0 {
		buffer = make([]uint64, 1)
	}
	return uint32(uintptr(unsafe.Pointer(&buffer[0])))
}

// Buffer returns what the host wrote; it panics outside of what alloc gave. It
// is for the packages of the hooks.
func Buffer(at, length uint32) []byte {
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(buffer))), 8*len(buffer))
	return bytes[at-Place(bytes):][:length]
}

// Place returns where bytes lie in the module's memory.
func Place(bytes []byte) uint32 {
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(bytes))))
}

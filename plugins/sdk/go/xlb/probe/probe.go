// SPDX-License-Identifier: Apache-2.0

//go:build wasip1

// Package probe is the hook that checks whether a backend is healthy.
package probe

import (
	"errors"
	"io"
	"time"
	"unsafe"

	"github.com/xlb-io/xlb/plugins/sdk/go/xlb"
)

// ErrConnection is what the connection fails with: an error, or the probe's time
// is over. The host knows more and shows it.
var ErrConnection = errors.New("connection failed, or too slow")

// Conn is the connection to the backend under check, and what is said of it.
type Conn struct {
	// Timeout is what the whole probe may take.
	Timeout time.Duration
}

// Read reads some bytes; [io.EOF] at the end.
func (Conn) Read(to []byte) (int, error) {
	if len(to) == 0 {
		return 0, nil
	}
	n := connRead(unsafe.Pointer(unsafe.SliceData(to)), uint32(len(to)))
	switch {
	case n < 0:
		return 0, ErrConnection
	case n == 0:
		return 0, io.EOF
	}
	return int(n), nil
}

// Write writes all bytes, or fails.
func (Conn) Write(from []byte) (int, error) {
	written := 0
	for written < len(from) {
		rest := from[written:]
		n := connWrite(unsafe.Pointer(unsafe.SliceData(rest)), uint32(len(rest)))
		if n <= 0 {
			return written, ErrConnection
		}
		written += int(n)
	}
	return written, nil
}

// Reason says why the backend is what it is; at most 64 bytes count.
func (Conn) Reason(text string) {
	text = text[:min(len(text), 64)]
	setReason(unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
}

// Role says what the backend is, as "primary"; at most 64 bytes count.
func (Conn) Role(text string) {
	text = text[:min(len(text), 64)]
	setRole(unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
}

//go:wasmimport xlb conn_read
//go:noescape
func connRead(to unsafe.Pointer, length uint32) int32

//go:wasmimport xlb conn_write
//go:noescape
func connWrite(from unsafe.Pointer, length uint32) int32

//go:wasmimport xlb set_reason
//go:noescape
func setReason(text unsafe.Pointer, length uint32)

//go:wasmimport xlb set_role
//go:noescape
func setRole(text unsafe.Pointer, length uint32)

var check = func(Conn) bool { return true }

// Handle names what says whether a backend is healthy.
func Handle(f func(Conn) bool) { check = f }

//go:wasmexport probe
func hook(timeoutMS uint32) uint32 {
	xlb.Yield()
	if check(Conn{Timeout: time.Duration(timeoutMS) * time.Millisecond}) {
		return 0
	}
	return 1
}

// SPDX-License-Identifier: Apache-2.0

package flow

// Verdict is what becomes of a flow. Each carries a reason, which xlb counts; 0
// is none.
type Verdict uint64

func verdict(action uint64, reason uint16, operand uint32) Verdict {
	return Verdict(action | uint64(reason)<<16 | uint64(operand)<<32)
}

// Continue lets the next policy decide, and after the last one the service's
// table.
func Continue(reason uint16) Verdict { return verdict(0, reason, 0) }

// Drop drops the flow silently.
func Drop(reason uint16) Verdict { return verdict(1, reason, 0) }

// Reject tells the client: a TCP RST, or ICMP "administratively prohibited".
func Reject(reason uint16) Verdict { return verdict(2, reason, 0) }

// Backend picks a backend: 0 to Flow.Backends-1, in the order of address and port.
func Backend(index uint32, reason uint16) Verdict { return verdict(3, reason, index) }

// Subset picks one of the manifest's subsets, by its place in the list.
func Subset(index uint32, reason uint16) Verdict { return verdict(4, reason, index) }

// ByHash asks the service's table with this hash in place of the flow's: flows of
// the same hash go to the same backend.
func ByHash(hash uint32, reason uint16) Verdict { return verdict(5, reason, hash) }

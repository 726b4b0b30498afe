// SPDX-License-Identifier: Apache-2.0

//go:build wasip1

package flow

import "github.com/xlb-io/xlb/plugins/sdk/go/xlb"

var decide = func(Flow) Verdict { return Continue(0) }

// Handle names what decides about each new flow. It must not allocate memory: a
// garbage collection would count against the budget of one call.
func Handle(f func(Flow) Verdict) { decide = f }

//go:wasmexport flow
func hook(srcHi, srcLo, dstHi, dstLo uint64, srcPort, dstPort, protocol, tcpFlags uint32,
	hash uint64, backends uint32) uint64 {
	return uint64(decide(Flow{
		Source: xlb.Address{Hi: srcHi, Lo: srcLo}, Destination: xlb.Address{Hi: dstHi, Lo: dstLo},
		SourcePort: srcPort, DestinationPort: dstPort, Protocol: protocol, TCPFlags: tcpFlags,
		Hash: hash, Backends: backends,
	}))
}

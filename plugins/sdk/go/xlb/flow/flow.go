// SPDX-License-Identifier: Apache-2.0

// Package flow is the hook that is asked about each new flow.
package flow

import "github.com/xlb-io/xlb/plugins/sdk/go/xlb"

// The transport protocols.
const (
	TCP = 6
	UDP = 17
)

// Bits of [Flow.TCPFlags].
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
)

// Flow is the first packet of a flow, from a client to a VIP.
type Flow struct {
	Source, Destination         xlb.Address
	SourcePort, DestinationPort uint32
	// Protocol is TCP or UDP.
	Protocol uint32
	// TCPFlags is byte 13 of the TCP header; 0 with UDP.
	TCPFlags uint32
	// Hash is the same on every load balancer.
	Hash uint64
	// Backends is how many take new flows.
	Backends uint32
}

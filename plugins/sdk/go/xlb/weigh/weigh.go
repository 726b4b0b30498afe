// SPDX-License-Identifier: Apache-2.0

//go:build wasip1

// Package weigh is the hook that sets weights and tiers of a service's backends.
package weigh

import (
	"encoding/binary"
	"strings"
	"unsafe"

	"github.com/xlb-io/xlb/plugins/sdk/go/xlb"
)

// State is what is known of a backend.
type State uint8

// The states.
const (
	Unknown State = iota
	Up
	Down
	Draining
)

// Backend is a backend, and the answer about it. As given, the answer leaves all
// as it is.
type Backend struct {
	address [16]byte
	Port    uint16
	State   State
	_       uint8
	// Weight is as configured, or as the operator set it: 0 to 65535.
	Weight     uint32
	Tier       uint32 // 0 to 255
	zone       uint32
	zoneLength uint32
	tags       uint32
	tagsLength uint32
	_          uint32
	// LatencyNS is of probes, smoothed; 0: not known.
	LatencyNS uint64
	// Flows are live now.
	Flows       uint64
	FlowsTotal  uint64
	ErrorsTotal uint64 // failed probes
	NewWeight   int32  // 0 to 65535, or -1: leave
	NewTier     int32  // 0 to 255, or -1: leave
	Eject       uint32 // 1: no new flows
	Reason      uint32 // shown to the operator, 0 to 65535
}

// The record of ABI version 1 has 96 bytes.
var _ [96]byte = [unsafe.Sizeof(Backend{})]byte{}

// Address returns the backend's address.
func (b *Backend) Address() xlb.Address {
	return xlb.Address{Hi: binary.BigEndian.Uint64(b.address[:8]), Lo: binary.BigEndian.Uint64(b.address[8:])}
}

// Usable says whether the backend takes new flows.
func (b *Backend) Usable() bool { return b.Weight > 0 && (b.State == Unknown || b.State == Up) }

// Zone returns the backend's zone.
func (b *Backend) Zone() string { return string(xlb.Buffer(b.zone, b.zoneLength)) }

// Tags returns the backend's tags.
func (b *Backend) Tags() []string {
	if b.tagsLength == 0 {
		return nil
	}
	return strings.Split(string(xlb.Buffer(b.tags, b.tagsLength)), ",")
}

var answer = func([]Backend) error { return nil }

// Handle names what weighs the backends of a service, in the order of address
// and port. Upon an error, which is logged, all stay as they are.
func Handle(f func([]Backend) error) { answer = f }

//go:wasmexport weigh
func hook(at, count, strings uint32) uint32 {
	records := xlb.Buffer(at, count*uint32(unsafe.Sizeof(Backend{})))
	backends := unsafe.Slice((*Backend)(unsafe.Pointer(unsafe.SliceData(records))), count)
	if err := answer(backends); err != nil {
		xlb.Log(xlb.Error, "weigh: "+err.Error())
		return 1
	}
	return 0
}

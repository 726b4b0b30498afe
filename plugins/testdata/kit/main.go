//go:build wasip1

// All of the SDK, for the test that compares it with the others.
package main

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/xlb-io/xlb/plugins/sdk/go/xlb"
	"github.com/xlb-io/xlb/plugins/sdk/go/xlb/flow"
	"github.com/xlb-io/xlb/plugins/sdk/go/xlb/probe"
	"github.com/xlb-io/xlb/plugins/sdk/go/xlb/weigh"
)

var number int64

func init() {
	xlb.Configure(parse, func(n int64) { number = n })
	flow.Handle(decide)
	weigh.Handle(answer)
	probe.Handle(check)
}

func main() {}

//go:wasmexport prefix_hi
func prefixHi(hi, lo uint64, ipv4, ipv6 uint32) uint64 {
	return xlb.Address{Hi: hi, Lo: lo}.Prefix(int(ipv4), int(ipv6)).Hi
}

//go:wasmexport prefix_lo
func prefixLo(hi, lo uint64, ipv4, ipv6 uint32) uint64 {
	return xlb.Address{Hi: hi, Lo: lo}.Prefix(int(ipv4), int(ipv6)).Lo
}

//go:wasmexport hash
func hash(hi, lo, seed uint64) uint64 { return xlb.Address{Hi: hi, Lo: lo}.Hash(seed) }

// decide takes the flow's ports as the verdict's kind and reason, its hash as the
// operand.
func decide(f flow.Flow) flow.Verdict {
	operand, reason := uint32(f.Hash), uint16(f.DestinationPort)
	switch f.SourcePort {
	case 0:
		return flow.Continue(reason)
	case 1:
		return flow.Drop(reason)
	case 2:
		return flow.Reject(reason)
	case 3:
		return flow.Backend(operand, reason)
	case 4:
		return flow.Subset(operand, reason)
	case 5:
		return flow.ByHash(operand, reason)
	}
	// Every parameter counts.
	return flow.ByHash(uint32(f.Source.Hi+2*f.Source.Lo+3*f.Destination.Hi+5*f.Destination.Lo)+7*f.Protocol+11*f.TCPFlags+
		13*uint32(f.Hash)+17*f.Backends, 0)
}

func answer(backends []weigh.Backend) error {
	for i := range backends {
		b := &backends[i]
		if b.ErrorsTotal == 99 {
			return errors.New("no")
		}
		b.NewWeight = 0
		if b.Usable() {
			b.NewWeight = int32(b.Weight) + int32(b.Port)
		}
		b.NewTier = int32(b.Tier)
		if slices.Contains(b.Tags(), "b") {
			b.NewTier++
		}
		if b.Zone() == "z" {
			b.Eject = 1
		}
		b.Reason = uint32(b.Address().Lo&0xff + b.LatencyNS + b.Flows + b.FlowsTotal + b.ErrorsTotal)
	}
	return nil
}

func check(conn probe.Conn) bool {
	xlb.Log(xlb.Warn, "careful")
	xlb.Count(3, -5)
	if n, err := conn.Write([]byte("hello")); n != 5 || err != nil {
		return false
	}
	got := make([]byte, 16)
	n, _ := conn.Read(got)
	conn.Reason(string(got[:n]))
	conn.Role("primary")
	word, _ := xlb.Word("DE")
	return conn.Timeout.Milliseconds() == 1234 && xlb.Random() == 4 && xlb.Lookup(1, xlb.Address{Hi: 10, Lo: 20}) == 30 &&
		xlb.LookupInteger(2, 77) == -1 && word == 0x4445
}

func parse(text []byte) (int64, error) {
	var c struct{ Number *int64 }
	if err := json.Unmarshal(text, &c); err != nil {
		return 0, err
	}
	if c.Number == nil {
		return 0, errors.New("number: it is missing")
	}
	return *c.Number, nil
}

//go:wasmexport state
func state() int64 { return xlb.Wall() + number }

package backendhost

import (
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/xlb-io/xlb/internal/testlab"
)

// From linux/bpf.h.
const (
	roomMAC     = 1
	fixedGSO    = 1 << 0
	encapIPv4   = 1 << 1
	encapIPv6   = 1 << 2
	encapUDP    = 1 << 4
	tcxNext     = -1
	tcDrop      = 2
	skbLen      = 0
	skbProtocol = 16
)

// encapsulate plays the balancer: what leaves the interface as TCP or UDP of a
// family gets outer headers. Super-packets stay whole, as from a sender on the
// same host.
func encapsulate(t *testing.T, n *testlab.Namespace, iface string, in6 bool, headers ...testlab.Layer) {
	t.Helper()
	// The lengths and the IPv4 checksum are written per packet.
	inside := inner(in6, 0)
	whole := build(linkHeader, headers, inside)
	ipHeader := whole[14 : len(whole)-(len(build(linkHeader, inside))-14)]
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "test_encap", Type: ebpf.SchedCLS, License: "MIT", AttachType: ebpf.AttachTCXEgress,
		Instructions: encapProgram(in6, ipHeader),
	})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer prog.Close()
	index, err := n.Index(iface)
	if err != nil {
		t.Fatal(err)
	}
	var l link.Link
	err = n.Do(func() error {
		l, err = link.AttachTCX(link.TCXOptions{Interface: index, Program: prog, Attach: ebpf.AttachTCXEgress})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

func encapProgram(in6 bool, headers []byte) asm.Instructions {
	const frame, ethertype = -64, -72
	out6 := headers[0]>>4 == 6
	etherTypes := map[bool]uint16{false: testlab.EtherTypeIPv4, true: testlab.EtherTypeIPv6}
	swap := func(v uint16) int32 { return int32(v>>8 | v<<8) }
	protocolAt, flags, ipLength := int32(14+9), int32(fixedGSO), int32(20)
	if in6 {
		protocolAt = 14 + 6
	}
	if out6 {
		flags |= encapIPv6
		ipLength = 40
	} else {
		flags |= encapIPv4
	}
	udp := int32(len(headers)) > ipLength
	if udp {
		flags |= encapUDP
	}

	code := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R2, asm.R6, skbProtocol, asm.Word),
		asm.JNE.Imm(asm.R2, swap(etherTypes[in6]), "pass"),
		asm.Mov.Imm(asm.R2, protocolAt),
		asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, frame),
		asm.Mov.Imm(asm.R4, 1),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "pass"),
		asm.LoadMem(asm.R2, asm.RFP, frame, asm.Byte),
		asm.JEq.Imm(asm.R2, testlab.ProtoTCP, "go"),
		asm.JNE.Imm(asm.R2, testlab.ProtoUDP, "pass"),
		asm.Mov.Reg(asm.R1, asm.R6).WithSymbol("go"),
		asm.Mov.Imm(asm.R2, int32(len(headers))),
		asm.Mov.Imm(asm.R3, roomMAC),
		asm.Mov.Imm(asm.R4, flags),
		asm.FnSkbAdjustRoom.Call(),
		asm.JNE.Imm(asm.R0, 0, "drop"),
		// R7 is the length from the outer IP header on.
		asm.LoadMem(asm.R7, asm.R6, skbLen, asm.Word),
		asm.Sub.Imm(asm.R7, 14),
	}
	padded := append(append([]byte{}, headers...), make([]byte, 8)...)
	for at := 0; at < len(headers); at += 8 {
		word := int64(binary.LittleEndian.Uint64(padded[at:]))
		code = append(code, asm.LoadImm(asm.R1, word, asm.DWord), asm.StoreMem(asm.RFP, int16(frame+at), asm.R1, asm.DWord))
	}
	// length stores R7 less what is before, in network order.
	length := func(at, before int32) {
		code = append(code, asm.Mov.Reg(asm.R1, asm.R7), asm.Sub.Imm(asm.R1, before), asm.HostTo(asm.BE, asm.R1, asm.Half),
			asm.StoreMem(asm.RFP, int16(frame+at), asm.R1, asm.Half))
	}
	if out6 {
		length(4, ipLength)
	} else {
		length(2, 0)
		sum := uint32(0)
		for at := 0; at < 20; at += 2 {
			if at != 2 && at != 10 {
				sum += uint32(binary.LittleEndian.Uint16(headers[at:]))
			}
		}
		code = append(code, asm.Add.Imm(asm.R1, int32(sum)))
		for range 2 {
			code = append(code, asm.Mov.Reg(asm.R2, asm.R1), asm.RSh.Imm(asm.R2, 16), asm.And.Imm(asm.R1, 0xffff), asm.Add.Reg(asm.R1, asm.R2))
		}
		code = append(code, asm.Xor.Imm(asm.R1, 0xffff), asm.StoreMem(asm.RFP, frame+10, asm.R1, asm.Half))
	}
	if udp {
		length(ipLength+4, ipLength)
		code = append(code, asm.StoreImm(asm.RFP, int16(frame+ipLength+6), 0, asm.Half)) // no checksum
	}
	return append(code,
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Imm(asm.R2, 14),
		asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, frame),
		asm.Mov.Imm(asm.R4, int32(len(headers))),
		asm.Mov.Imm(asm.R5, 0),
		asm.FnSkbStoreBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "drop"),
		asm.StoreImm(asm.RFP, ethertype, int64(swap(etherTypes[out6])), asm.Half),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Imm(asm.R2, 12),
		asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, ethertype),
		asm.Mov.Imm(asm.R4, 2),
		asm.Mov.Imm(asm.R5, 0),
		asm.FnSkbStoreBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "drop"),
		asm.Mov.Imm(asm.R0, tcxNext).WithSymbol("pass"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, tcDrop).WithSymbol("drop"),
		asm.Return(),
	)
}

package testlab

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// XDP verdicts and offsets of struct xdp_md, from linux/bpf.h.
const (
	xdpTX      = 3
	xdpData    = 0
	xdpDataEnd = 4
)

// steer is the least of all balancers: IPv4 and IPv6 packets to a VIP get the
// backend's MAC address and leave by out, or as they came when out is 0.
func steer(net *Topology, own, backend MAC, out int) asm.Instructions {
	verdict := asm.Instructions{asm.Mov.Imm(asm.R0, xdpTX), asm.Return()}
	if out != 0 {
		verdict = asm.Instructions{
			asm.Mov.Imm(asm.R1, int32(out)), asm.Mov.Imm(asm.R2, 0),
			asm.FnRedirect.Call(), asm.Return(),
		}
	}
	vip4, vip6 := net.VIP4.As4(), net.VIP6.As16()
	word := func(b []byte) int32 { return int32(binary.LittleEndian.Uint32(b)) }
	half := func(b []byte) int64 { return int64(binary.LittleEndian.Uint16(b)) }
	code := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, xdpData, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, xdpDataEnd, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, 54),
		asm.JGT.Reg(asm.R4, asm.R3, "short"),
		asm.LoadMem(asm.R5, asm.R2, 12, asm.Half),
		asm.JEq.Imm(asm.R5, 0xdd86, "six"),
		asm.Ja.Label("four"),
		asm.Mov.Reg(asm.R4, asm.R2).WithSymbol("short"),
		asm.Add.Imm(asm.R4, 34),
		asm.JGT.Reg(asm.R4, asm.R3, "pass"),
		asm.LoadMem(asm.R5, asm.R2, 12, asm.Half),
		asm.JNE.Imm(asm.R5, 0x0008, "pass").WithSymbol("four"),
		asm.LoadMem(asm.R5, asm.R2, 30, asm.Word),
		asm.JNE.Imm32(asm.R5, word(vip4[:]), "pass"),
		asm.Ja.Label("steer"),
		asm.LoadMem(asm.R5, asm.R2, 50, asm.Word).WithSymbol("six"),
		asm.JNE.Imm32(asm.R5, word(vip6[12:]), "pass"),
		asm.LoadMem(asm.R5, asm.R2, 38, asm.Word),
		asm.JNE.Imm32(asm.R5, word(vip6[:4]), "pass"),
		asm.StoreImm(asm.R2, 0, half(backend[0:]), asm.Half).WithSymbol("steer"),
		asm.StoreImm(asm.R2, 2, half(backend[2:]), asm.Half),
		asm.StoreImm(asm.R2, 4, half(backend[4:]), asm.Half),
		asm.StoreImm(asm.R2, 6, half(own[0:]), asm.Half),
		asm.StoreImm(asm.R2, 8, half(own[2:]), asm.Half),
		asm.StoreImm(asm.R2, 10, half(own[4:]), asm.Half),
	}
	code = append(code, verdict...)
	return append(code, asm.Mov.Imm(asm.R0, xdpPass).WithSymbol("pass"), asm.Return())
}

func attach(t *testing.T, n *Namespace, ifname string, code asm.Instructions, flags link.XDPAttachFlags) {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "MIT", Instructions: code})
	must(t, err)
	defer prog.Close()
	index, err := n.Index(ifname)
	must(t, err)
	var l link.Link
	must(t, n.Do(func() (err error) {
		l, err = link.AttachXDP(link.XDPOptions{Program: prog, Interface: index, Flags: flags})
		return err
	}))
	t.Cleanup(func() { l.Close() })
}

// Both shapes carry what a native program on the balancer transmits or
// redirects, and with offloads kept what a generic one does: TCP with a large
// body, UDP, IPv4 and IPv6, answered from the VIP.
func TestTopologiesCarryXDP(t *testing.T) {
	for _, c := range []struct {
		name         string
		shape        Shape
		keepOffloads bool
		flags        link.XDPAttachFlags
	}{
		{"transmit", OneArm, false, link.XDPDriverMode},
		{"redirect", Routed, false, link.XDPDriverMode},
		{"generic transmit", OneArm, true, link.XDPGenericMode},
		{"generic redirect", Routed, true, link.XDPGenericMode},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			net, err := l.Topology(TopologyOptions{Shape: c.shape, Backends: 1, BackendsHoldVIPs: true, KeepOffloads: c.keepOffloads})
			must(t, err)
			backend := net.Backends[0]
			mac, err := backend.MAC("eth0")
			must(t, err)
			in, out := net.Interfaces[0], net.Interfaces[len(net.Interfaces)-1]
			own, err := net.Balancer.MAC(out)
			must(t, err)
			index := 0
			if c.shape == Routed {
				index, err = net.Balancer.Index(out)
				must(t, err)
			}
			attach(t, net.Balancer, in, steer(net, MAC(own), MAC(mac), index), c.flags)
			_, err = backend.StartHTTP(80)
			must(t, err)
			_, err = backend.StartUDPEcho(53)
			must(t, err)
			client, err := net.Client.HTTPClient(false, 0)
			must(t, err)
			for _, vip := range []netip.Addr{net.VIP4, net.VIP6} {
				body := fetch(t, client, "http://"+netip.AddrPortFrom(vip, 80).String()+"/large?bytes=2000000").Body
				if n, err := VerifyBody(body, 2000000); err != nil {
					t.Errorf("%s: %d bytes, %v", vip, n, err)
				}
				name, sent, err := net.Client.AskUDP(deadline(t), netip.AddrPortFrom(vip, 53), []byte("x"), 5, time.Second)
				if err != nil || name != backend.Name {
					t.Errorf("%s: %q after %d datagrams, %v", vip, name, sent, err)
				}
			}
		})
	}
}

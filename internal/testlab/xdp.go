package testlab

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
)

// xdpPass is XDP_PASS of linux/bpf.h.
const xdpPass = 2

// AttachPass puts a program that passes every packet on a link, in native
// mode. A veth drops the frames that its peer's program sends back (XDP_TX)
// unless it has a program itself.
func (n *Namespace) AttachPass(ifname string) error {
	fail := func(err error) error {
		return fmt.Errorf("attach a passing program to %s in namespace %s: %w", ifname, n.Name, err)
	}
	index, err := n.Index(ifname)
	if err != nil {
		return err
	}
	// Before Linux 5.11 BPF memory counts against RLIMIT_MEMLOCK.
	if err := rlimit.RemoveMemlock(); err != nil {
		return fail(err)
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "xlb_lab_pass", Type: ebpf.XDP, License: "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()},
	})
	if err != nil {
		return fail(err)
	}
	defer prog.Close()
	var l link.Link
	// The kernel looks the interface up in the caller's namespace.
	err = n.Do(func() (err error) {
		l, err = link.AttachXDP(link.XDPOptions{Program: prog, Interface: index, Flags: link.XDPDriverMode})
		return err
	})
	if err != nil {
		return fail(err)
	}
	if err := n.lab.own(l.Close); err != nil {
		return fail(err)
	}
	return nil
}

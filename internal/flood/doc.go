// Package flood measures how many 64-byte frames a second get through: over
// virtual Ethernet, in namespaces of its own, with the programs attached as in
// production.
//
// A generator program, run by BPF_PROG_TEST_RUN with live frames, writes whole
// frames and redirects them into the balancer's interface; what leaves its other
// interface is counted by a program at the far end and dropped there. So a frame
// meets all that it meets in production but the network card: the driver's
// receive path, the balancer, the redirect and the driver's transmit path.
// Generator, balancer and sink share a CPU, so figures are comparable with each
// other only.
//
// Beside the balancer the same frames are measured with less (dropped, redirected
// as they are, the bare table look-up of package bench) and with what the kernel
// brings (forwarding, nftables). Every frame is accounted for: it arrived or was
// dropped in a place that is named.
//
// Needs root and Linux 5.18 or later; leaves nothing behind.
package flood

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -fdebug-compilation-dir=/ -fdebug-prefix-map=.=flood" -no-global-types flood flood.bpf.c -- -I/usr/include/x86_64-linux-gnu

// Package bench measures what the data plane costs a packet: nanoseconds by
// BPF_PROG_TEST_RUN, of the programs as they are attached in production, over
// flows that come in no order a cache could like.
//
// A wrapper program restores the packet, whose headers the pipeline rewrote,
// before each repetition, sets the next flow's address and port, and tail-calls
// the pipeline. Its own cost is measured beside it with an empty program in the
// pipeline's place, and subtracted. Around every measurement the data plane's
// counters are compared: a scenario that was not what it says is an error, not
// a figure.
//
// Where the pipeline encapsulates, the wrapper also takes the outer header off.
// What that costs is measured with an empty program that makes room for one: the
// two are the same helper with opposite signs, so half of what it costs more than
// the other empty program is the wrapper's (see driver.floor).
//
// Beside each piece of a scenario the bare table look-up of bare.h is measured in
// the same way, the least that a balancer could do. The scenarios of a hook and a
// forwarding mode take turns, round by round; those that need the flow table in
// different states have a data plane each.
//
// Next hops are asked from the kernel, so all runs inside a network namespace
// with routes and neighbours of its own. Needs root and Linux 5.18 or later;
// sends nothing and leaves nothing behind.
package bench

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -fdebug-compilation-dir=/ -fdebug-prefix-map=.=bench" -no-global-types wrapperXDP wrapper_xdp.bpf.c -- -I/usr/include/x86_64-linux-gnu
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -fdebug-compilation-dir=/ -fdebug-prefix-map=.=bench" -no-global-types wrapperTC wrapper_tc.bpf.c -- -I/usr/include/x86_64-linux-gnu
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -fdebug-compilation-dir=/ -fdebug-prefix-map=.=bench" -no-global-types bareXDP bare_xdp.bpf.c -- -I/usr/include/x86_64-linux-gnu
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -fdebug-compilation-dir=/ -fdebug-prefix-map=.=bench" -no-global-types bareTC bare_tc.bpf.c -- -I/usr/include/x86_64-linux-gnu
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -fdebug-compilation-dir=/ -fdebug-prefix-map=.=bench" -no-global-types flowTables flowtables.bpf.c -- -I/usr/include/x86_64-linux-gnu

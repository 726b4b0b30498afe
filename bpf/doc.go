// Package bpf holds the data plane's C sources and what is generated from
// them: the compiled objects, which are committed so that building xlb needs
// no C compiler, and Go's copy of the types both sides share.
//
// Only packages maps, loader and backendhost import it.
package bpf

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -fdebug-compilation-dir=/ -fdebug-prefix-map=.=bpf" -type addr -type reason -type event -type flow_state -type vip4_key -type vip6_key -type vip -type vip4_bucket -type vip6_bucket -type timeouts -type service -type backend -type source -type flow -type flow_set -type port_line -type next_hop -type count -type traffic -type tunnel -type vlan -type load -type outcome -type outcomes -type syn -type affinity_key -type affinity -type quic_key -type layout -type upcall -type decision_key -type decision -type rule_key -type subset -type rate_key -type refused Xdp xdp.bpf.c -- -I/usr/include/x86_64-linux-gnu
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -fdebug-compilation-dir=/ -fdebug-prefix-map=.=bpf" -no-global-types Tc tc.bpf.c -- -I/usr/include/x86_64-linux-gnu

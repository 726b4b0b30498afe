package bpf

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -fdebug-compilation-dir=/ -fdebug-prefix-map=.=bpf" -no-global-types DecapXdp decap_xdp.bpf.c -- -I/usr/include/x86_64-linux-gnu
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -fdebug-compilation-dir=/ -fdebug-prefix-map=.=bpf" -no-global-types DecapTc decap_tc.bpf.c -- -I/usr/include/x86_64-linux-gnu

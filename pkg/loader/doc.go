// Package loader puts the data plane into the kernel and keeps it there: it
// loads the programs, pins maps and links, attaches to interfaces, takes over
// what an earlier run left, and removes all of it.
//
// Below the pin directory lies one directory per layout of the maps:
//
//	/sys/fs/bpf/xlb/v4/maps/NAME            the maps
//	/sys/fs/bpf/xlb/v4/links/IF%xdp         the XDP link of interface IF
//	/sys/fs/bpf/xlb/v4/links/IF%tcx         its TC link
//	/sys/fs/bpf/xlb/v4/links/lo%probe       the link of probes that go via the VIP
//	/sys/fs/bpf/xlb/v4/links/lo%inject      that of packets which come in once more
//	/sys/fs/bpf/xlb/v4/restore/…            names of directories say which sysctls to set back
//
// Links keep programs and programs keep maps alive, so traffic flows on when
// the daemon ends, however it ends. Needs Linux 5.18 (XDP programs that take
// fragmented frames) and CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN.
package loader

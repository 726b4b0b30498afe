// Package testlab builds small networks on this machine: namespaces joined by
// virtual Ethernet, real servers and clients inside them, and packets byte by
// byte for those that never touch a wire.
//
// The end-to-end tests and `xlb demo` stand on it, so it neither imports
// testing nor needs a program beside the running one: links, addresses and
// routes go through netlink, offloads through ioctl. It needs root
// (CAP_SYS_ADMIN and CAP_NET_ADMIN).
//
// A [Lab] owns all that is made and [Lab.Close] takes it all down again. A
// [Topology] is a whole network in one call:
//
//	lab, err := testlab.New("demo")
//	if err != nil { … }
//	defer lab.Close()
//	net, err := lab.Topology(testlab.TopologyOptions{Shape: testlab.Routed, Backends: 3})
//	server, err := net.Backends[0].ServeHTTP(8080)
//	daemon := net.Balancer.Command(ctx, "xlb", "run")
//
// Packets for BPF_PROG_TEST_RUN come from [Build], which takes layers from
// the outermost to the innermost; [Check] validates every length and checksum
// of a packet, and [Diff] names the header fields in which two packets differ.
package testlab

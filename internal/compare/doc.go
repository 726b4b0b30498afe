// Package compare measures xlb beside other load balancers, end to end: real
// clients (wrk, iperf3), real servers (nginx, iperf3) and in between, each in a
// network of namespaces of its own, the real `xlb run`, HAProxy, nginx, nftables
// and, as a baseline, a kernel that only routes.
//
// The machine's speed shifts with its neighbours, so the balancers take turns in
// every round and the figures are medians over the rounds. All share the
// machine's cores with client and servers: the figures compare balancers and say
// little of what one could do alone; for that see package bench.
//
// A figure counts only if it is what it says: before anything is measured, all
// four backends must have answered with the addresses that the way of forwarding
// promises, and around every piece the backends' own counters, the client's
// errors and the counters of xlb are looked at.
//
// It needs root, sends traffic only inside its namespaces and leaves nothing
// behind, however it ends.
package compare

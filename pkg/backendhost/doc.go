// Package backendhost prepares a Linux server for the direct-server-return
// modes (l2dsr, ipip, gue) and takes the preparation back.
//
// A backend needs a handful of things: the VIPs on its loopback interface,
// silence about them on its network, a reverse-path filter that lets clients
// in, and for tunnels a program that takes the outer headers off and a smaller
// TCP segment size. Each is an [item]: it can be looked at, told how to mend by
// hand, and put right. [Apply] puts all of them right, [Check] only looks, and
// [Undo] brings back what was there before, which Apply wrote to a file before
// it changed anything.
//
// All of it acts on the network namespace of the calling thread. Needs Linux
// 5.15, CAP_NET_ADMIN, and for tunnels CAP_BPF and CAP_SYS_ADMIN.
package backendhost

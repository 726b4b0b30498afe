// Package test holds the end-to-end tests of xlb: the real command, run as its
// users run it, between real clients and servers in network namespaces.
//
// Everything goes through the command line and the configuration file; what a
// test expects is measured at the sockets of clients and servers. The tests
// need root and run one after the other:
//
//	go test ./test
package test

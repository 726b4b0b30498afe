// Package schedule turns the weights of backends into lookup tables: arrays
// of slots that the data plane indexes by the hash of a flow.
//
// A table is a pure function of its entries, so every load balancer of a
// fleet that knows the same backends builds the same table, and a flow that
// moves from one load balancer to another keeps its backend.
package schedule

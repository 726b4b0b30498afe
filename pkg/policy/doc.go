// Package policy runs operators' rules: WebAssembly modules that are asked about
// each new flow, about the weights of backends, and whether a backend is alive.
//
// A [Bundle] is what is on disk: a module and its manifest. A [Runtime] loads it
// with the operator's part into a [Policy], which makes one [Worker] for each
// goroutine that decides flows. A [Chain] is the policies of a service in order,
// a [ChainWorker] is a goroutine's hand in all chains.
//
// A module is not trusted. Its memory is limited, its imports are known by name,
// what it returns is checked, and each call has a budget: fuel on the flow path,
// which is written into the module when it is loaded, and a time for all else. One
// that fails five times in a row is not asked for a while.
//
// docs/policy-abi.md is what a module sees of this.
package policy

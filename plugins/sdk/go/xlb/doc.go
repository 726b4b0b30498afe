// SPDX-License-Identifier: Apache-2.0

// Package xlb is what a policy for xlb needs in Go: ABI version 1.
//
// A policy is a main package, built with GOOS=wasip1 GOARCH=wasm go build
// -buildmode=c-shared. Its init function names what it does, its main function
// is empty:
//
//	func init() {
//		xlb.Configure(parse, put)
//		flow.Handle(decide)
//	}
//
//	func main() {}
//
// The hooks are packages of their own, [flow], [weigh] and [probe], so that a
// module exports those it has and no others. Package variables keep what a
// policy must remember: each worker of the daemon has a copy of its own.
//
// [flow]: https://pkg.go.dev/github.com/xlb-io/xlb/plugins/sdk/go/xlb/flow
// [weigh]: https://pkg.go.dev/github.com/xlb-io/xlb/plugins/sdk/go/xlb/weigh
// [probe]: https://pkg.go.dev/github.com/xlb-io/xlb/plugins/sdk/go/xlb/probe
package xlb

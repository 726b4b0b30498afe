// Package control is the reconciler: the one owner of a running load
// balancer's state, and the only package that knows all the others.
//
// Every round is a pure function from [Input] to [Plan] (see [Planner]); what
// differs between the plan and the maps is written, and the outcome is
// published as an immutable snapshot that the API reads.
package control

// Package model says what a load balancer is: services with frontends and
// backends, and the settings of the data plane that carries them.
//
// Every other package speaks in these types. The package imports nothing of
// xlb, keeps no state and does no input or output.
package model

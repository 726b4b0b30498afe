// Package telemetry shows what the load balancer counts to monitoring systems, in
// the Prometheus text format. It knows the daemon by what it publishes.
package telemetry

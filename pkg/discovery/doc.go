// Package discovery finds the backends of services.
//
// A [Source] watches one place for one service; there is one file per kind of
// source, and example_test.go shows how to add one. A [Manager] runs the sources
// of all services, keeps their last good answers, and joins them with the
// backends that the configuration lists.
package discovery

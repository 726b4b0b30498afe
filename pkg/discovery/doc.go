// Package discovery finds the backends of services.
//
// A [Source] watches one place for one service; there is one file per kind of
// source. A [Manager] runs the sources of all services and puts what they find
// on one channel.
package discovery

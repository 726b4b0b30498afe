// Package rules reads the lists of networks that services' rules name, files of
// prefixes and GeoIP databases, and compiles allow lists, deny lists and steering
// into one list of prefixes of which the longest that holds a source decides.
package rules

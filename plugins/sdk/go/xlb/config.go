// SPDX-License-Identifier: Apache-2.0

//go:build wasip1

package xlb

// The configuration of the module: whether a text is fine, and its coming into
// force.
var (
	check = func([]byte) error { return nil }
	apply = func([]byte) error { return nil }
)

// What the host reads must stay where it is until the host calls again.
var message []byte

// Offset of the time of day from the monotonic clock.
var clock int64

// Configure names what reads the policy's configuration, JSON. parse says what is
// wrong, as "percent: 0 to 100", and changes nothing; put puts into force what
// parse returned. Both may come again at any time, and come every hour with the
// same configuration.
func Configure[T any](parse func(text []byte) (T, error), put func(T)) {
	check = func(text []byte) error {
		_, err := parse(text)
		return err
	}
	apply = func(text []byte) error {
		config, err := parse(text)
		if err == nil {
			put(config)
		}
		return err
	}
}

// Wall returns nanoseconds since 1970, right once the policy is configured.
func Wall() int64 { return clock + int64(Now()) }

//go:wasmexport validate
func validate(at, length uint32) uint64 {
	err := check(configuration(at, length))
	if err == nil {
		return 0
	}
	message = []byte(err.Error())
	if len(message) == 0 {
		message = []byte("the policy says no more than that this is wrong")
	}
	message = message[:min(len(message), 4096)]
	return uint64(Place(message))<<32 | uint64(len(message))
}

//go:wasmexport configure
func configure(at, length uint32, wall, monotonic int64) uint32 {
	before := clock
	clock = wall - monotonic
	if err := apply(configuration(at, length)); err != nil {
		clock = before
		Log(Error, "configure: "+err.Error())
		return 1
	}
	return 0
}

// configuration returns the host's text; none at all is an empty object.
func configuration(at, length uint32) []byte {
	if length == 0 {
		return []byte("{}")
	}
	return Buffer(at, length)
}

//go:wasmexport xlb_abi_version
func version() uint32 { return 1 }

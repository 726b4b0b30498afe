package probe

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// maxAnswer is how much of an answer is searched.
const maxAnswer = 64 << 10

// contains looks for want in what r holds and stops as soon as it is there, as
// some answers never end.
func contains(r io.Reader, want []byte) (bool, error) {
	return search(r, func(seen []byte, fresh int) bool {
		start := max(0, len(seen)-fresh-len(want)+1) // where a match that ends in the new bytes can begin
		return bytes.Contains(seen[start:], want)
	})
}

// matches is contains for a regular expression, which is asked anew with each
// piece that comes.
func matches(r io.Reader, pattern *regexp.Regexp) (bool, error) {
	return search(r, func(seen []byte, _ int) bool { return pattern.Match(seen) })
}

// search reads until found says so of all that was seen so far, of which the last
// fresh bytes are new. The end of the input is no error.
func search(r io.Reader, found func(seen []byte, fresh int) bool) (bool, error) {
	var seen []byte
	buf := make([]byte, 8<<10)
	for len(seen) < maxAnswer {
		n, err := r.Read(buf[:min(len(buf), maxAnswer-len(seen))])
		seen = append(seen, buf[:n]...)
		switch {
		case found(seen, n):
			return true, nil
		case errors.Is(err, io.EOF):
			return false, nil
		case err != nil:
			return false, err
		}
	}
	return false, nil
}

// fill puts the backend into a text: {service}, {backend} (address and port),
// {address} and {port} are its own, wherever the probe goes.
func fill(text string, t Target) string {
	if !individual(text) {
		return text
	}
	return strings.NewReplacer(
		"{service}", t.Service, "{backend}", t.Backend.String(), "{address}", plain(t.Backend.Addr()), "{port}", strconv.Itoa(int(t.Backend.Port())),
	).Replace(text)
}

// individual tells whether fill may change a text.
func individual(text string) bool { return strings.Contains(text, "{") }

// plain is an address without its zone, which means nothing elsewhere.
func plain(a netip.Addr) string { return a.WithZone("").String() }

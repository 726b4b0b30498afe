package bpf_test

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

var constant = regexp.MustCompile(`\b([A-Z][A-Z0-9_]+) = (0x[0-9a-f]+|\d+)(?: << (\d+))?\b`)

// headerConstants reads the explicit values of the enums in lib/types.h.
func headerConstants(t *testing.T) map[string]int {
	t.Helper()
	source, err := os.ReadFile("lib/types.h")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, m := range constant.FindAllStringSubmatch(string(source), -1) {
		v, err := strconv.ParseInt(m[2], 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		if m[3] != "" {
			shift, err := strconv.Atoi(m[3])
			if err != nil {
				t.Fatal(err)
			}
			v <<= shift
		}
		if _, twice := out[m[1]]; twice {
			t.Errorf("%s has two values", m[1])
		}
		out[m[1]] = int(v)
	}
	return out
}

package testlab

import (
	"bytes"
	"fmt"
	"strings"
)

// Diff says in which header fields two frames differ, a line each, with the
// faults that only got has. It returns "" when they are equal.
func Diff(want, got []byte) string {
	if bytes.Equal(want, got) {
		return ""
	}
	wantHeaders, wantFault := Dissect(want)
	gotHeaders, gotFault := Dissect(got)
	var b strings.Builder
	for i := range max(len(wantHeaders), len(gotHeaders)) {
		switch {
		case i >= len(gotHeaders):
			fmt.Fprintf(&b, "header %d: want %s\n          got none\n", i, wantHeaders[i])
		case i >= len(wantHeaders):
			fmt.Fprintf(&b, "header %d: want none\n          got %s\n", i, gotHeaders[i])
		case wantHeaders[i].Name != gotHeaders[i].Name:
			fmt.Fprintf(&b, "header %d: want %s\n          got %s\n", i, wantHeaders[i], gotHeaders[i])
		default:
			diffHeader(&b, wantHeaders[i], gotHeaders[i])
		}
	}
	if len(want) != len(got) {
		fmt.Fprintf(&b, "frame: want %d bytes, got %d\n", len(want), len(got))
	}
	if b.Len() == 0 {
		// In bits that belong to no field, such as the padding.
		at := 0
		for want[at] == got[at] {
			at++
		}
		fmt.Fprintf(&b, "byte %d: want %#02x, got %#02x\n", at, want[at], got[at])
	}
	if gotFault != nil && (wantFault == nil || wantFault.Error() != gotFault.Error()) {
		fmt.Fprintf(&b, "got has faults: %v\n", gotFault)
	}
	return b.String()
}

// diffHeader compares two headers of one kind, which have the same fields
// unless one of them is cut short.
func diffHeader(b *strings.Builder, want, got Header) {
	for i := range max(len(want.Fields), len(got.Fields)) {
		switch {
		case i >= len(got.Fields):
			fmt.Fprintf(b, "%s %s: want %s, got none\n", want.Name, want.Fields[i].Name, want.Fields[i].Value)
		case i >= len(want.Fields):
			fmt.Fprintf(b, "%s %s: want none, got %s\n", got.Name, got.Fields[i].Name, got.Fields[i].Value)
		case want.Fields[i].Value != got.Fields[i].Value:
			w, g := abridge(want.Fields[i].Value, got.Fields[i].Value)
			fmt.Fprintf(b, "%s %s: want %s, got %s\n", want.Name, want.Fields[i].Name, w, g)
		}
	}
}

// abridge shortens two long values to where they begin to differ.
func abridge(a, b string) (shortA, shortB string) {
	const context, show = 8, 48
	if max(len(a), len(b)) <= show {
		return a, b
	}
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	// Values of this length are bytes in hexadecimal.
	at = max(0, at-context) &^ 1
	cut := func(s string) string {
		s = s[at:]
		if len(s) > show {
			s = s[:show] + "…"
		}
		return fmt.Sprintf("[%d:]%s", at/2, s)
	}
	return cut(a), cut(b)
}

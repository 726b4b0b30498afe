// SPDX-License-Identifier: Apache-2.0

package xlb

// Word returns a word of one to eight bytes as it stands in a table.
func Word(text string) (int64, bool) {
	if len(text) < 1 || len(text) > 8 {
		return 0, false
	}
	var packed int64
	for i := range len(text) {
		packed = packed<<8 | int64(text[i])
	}
	return packed, true
}

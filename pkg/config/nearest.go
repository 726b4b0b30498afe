package config

import "strings"

// nearest returns the name that s most likely misspells, if there is one.
func nearest(s string, names []string) (string, bool) {
	fold := func(s string) string { return separators.Replace(strings.ToLower(s)) }
	if len(s) == 0 || len(s) > 64 {
		return "", false
	}
	asked := fold(s)
	best, distance := "", (len(s)+2)/4
	for _, name := range names {
		known := fold(name)
		if len(known)-len(asked) > distance || len(asked)-len(known) > distance {
			continue
		}
		if d := edits(asked, known); d <= distance && (best == "" || d < distance) {
			best, distance = name, d
		}
	}
	return best, best != ""
}

var separators = strings.NewReplacer("-", "", "_", "", " ", "")

// edits is the number of insertions, deletions, substitutions and swaps of
// neighbours that turn a into b (optimal string alignment).
func edits(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

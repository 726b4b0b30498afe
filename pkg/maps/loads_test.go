package maps

import "testing"

// A count is wrong only beyond what may have happened while flows were counted.
func TestWrongBy(t *testing.T) {
	for _, c := range []struct{ before, after, table, want int32 }{
		{5, 5, 5, 0}, {5, 8, 5, 0}, {5, 8, 7, 0}, {8, 5, 6, 0}, {8, 5, 8, 0},
		{5, 8, 4, -1}, {5, 8, 10, 2}, {8, 5, 0, -5}, {-3, -3, 0, 3}, {-3, -1, 2, 3},
	} {
		if got := wrongBy(c.before, c.after, c.table); got != c.want {
			t.Errorf("was %d, is %d, the table has %d: add %d, want %d", c.before, c.after, c.table, got, c.want)
		}
	}
}

package schedule

import "math"

// IsPrime tells whether n is a prime. It takes about √n/2 divisions.
func IsPrime(n int) bool {
	if n < 4 {
		return n > 1
	}
	if n%2 == 0 {
		return false
	}
	for d := 3; d <= n/d; d += 2 {
		if n%d == 0 {
			return false
		}
	}
	return true
}

// NearestPrimes returns the largest prime below n and the smallest above it,
// n itself excluded; either is 0 where an int has none. They make the hint of
// an error about a table size.
func NearestPrimes(n int) (below, above int) {
	for p := n - 1; p > 1; p-- {
		if IsPrime(p) {
			below = p
			break
		}
	}
	for p := max(n, 1); p < math.MaxInt; {
		p++
		if IsPrime(p) {
			above = p
			break
		}
	}
	return below, above
}

package schedule

import "testing"

func TestIsPrimeAgreesWithSieve(t *testing.T) {
	const limit = 70000
	composite := make([]bool, limit)
	for n := range limit {
		if n < 2 {
			composite[n] = true
			continue
		}
		if !composite[n] {
			for m := 2 * n; m < limit; m += n {
				composite[m] = true
			}
		}
		if n > 2 && composite[n] && n%2 == 1 && IsPrime(n) {
			t.Fatalf("IsPrime(%d) is true", n)
		}
	}
	for n := -3; n < limit; n++ {
		if want := n >= 0 && !composite[n]; IsPrime(n) != want {
			t.Fatalf("IsPrime(%d) = %v, want %v", n, !want, want)
		}
	}
}

func TestIsPrimeLarge(t *testing.T) {
	for n, want := range map[int]bool{MaxSize: true, MaxSize - 2: false, 46337 * 46337: false} {
		if IsPrime(n) != want {
			t.Errorf("IsPrime(%d) = %v, want %v", n, !want, want)
		}
	}
}

func TestNearestPrimes(t *testing.T) {
	for _, c := range []struct{ n, below, above int }{
		{-5, 0, 2}, {0, 0, 2}, {1, 0, 2}, {2, 0, 3}, {3, 2, 5}, {4, 3, 5},
		{65536, 65521, 65537}, {65537, 65521, 65539}, {100, 97, 101},
	} {
		if below, above := NearestPrimes(c.n); below != c.below || above != c.above {
			t.Errorf("NearestPrimes(%d) = %d, %d, want %d, %d", c.n, below, above, c.below, c.above)
		}
	}
}

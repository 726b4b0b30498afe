package control

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

var ejecting = model.Eject{
	On: true, Failures: 50, MinAttempts: 20, Window: 10 * time.Second, Consecutive: 5,
	Time: 30 * time.Second, MaxTime: 2 * time.Minute, MaxEjected: 50, Trials: 3, TrialWeight: 10,
}

// court is a service whose backends are judged every second. They are known by their
// last number.
type court struct {
	*testing.T
	limits  model.Eject
	replies bool
	now     time.Time
	seen    []observation
	all     breakers
	turns   []string
}

// inCourt begins with n backends that were seen for the first time.
func inCourt(t *testing.T, limits model.Eject, n int) *court {
	c := &court{T: t, limits: limits, replies: true, now: time.Unix(1_000_000, 0)}
	for i := range n {
		c.seen = append(c.seen, observation{address: ap(fmt.Sprintf("10.0.0.%d:80", i+1)), id: uint32(i + 1), usable: true})
	}
	return c.after(0)
}

func (c *court) address(n int) netip.AddrPort { return c.seen[n-1].address }

// after judges when some time has passed.
func (c *court) after(d time.Duration) *court {
	c.now = c.now.Add(d)
	var turns []turn
	c.all, turns = c.all.judge(c.limits, c.replies, c.now, c.seen)
	c.turns = nil
	for _, t := range turns {
		c.turns = append(c.turns, fmt.Sprintf("%d %s", t.address.Addr().As4()[3], t.to))
	}
	return c
}

// wait judges every second.
func (c *court) wait(seconds int) *court {
	for range seconds {
		c.after(time.Second)
	}
	return c
}

// tried is what became of connections to a backend since.
func (c *court) tried(n int, o maps.Outcomes) *court {
	t := &c.seen[n-1].total
	t.Attempts += o.Attempts
	t.Answered += o.Answered
	t.Refused += o.Refused
	t.Unanswered += o.Unanswered
	t.Reset += o.Reset
	return c
}

func served(n uint64) maps.Outcomes  { return maps.Outcomes{Attempts: n, Answered: n} }
func refused(n uint64) maps.Outcomes { return maps.Outcomes{Attempts: n, Refused: n} }
func silent(n uint64) maps.Outcomes  { return maps.Outcomes{Attempts: n, Unanswered: n} }

// wants compares the turns of the last judgement.
func (c *court) wants(turns ...string) *court {
	c.Helper()
	if diff := cmp.Diff(turns, c.turns); diff != "" {
		c.Fatalf("at %s (-want +got):\n%s", c.now, diff)
	}
	return c
}

func (c *court) why(n int, want string) *court {
	c.Helper()
	if got := c.all[c.address(n)].why; got != want {
		c.Fatalf("backend %d: %q, want %q", n, got, want)
	}
	return c
}

func (c *court) lasts(n int, want time.Duration) *court {
	c.Helper()
	if got := c.all[c.address(n)].until.Sub(c.now); got != want {
		c.Fatalf("backend %d is ejected for %s, want %s", n, got, want)
	}
	return c
}

func TestEjectByShare(t *testing.T) {
	limits := ejecting
	limits.Consecutive = 0
	c := inCourt(t, limits, 3)
	c.tried(1, served(10)).tried(1, refused(9)).after(time.Second).wants()
	c.tried(1, refused(1)).after(time.Second).wants("1 ejected").why(1, "10 of 20 connections failed, 10 refused (limit 50%)").lasts(1, 30*time.Second)
	// The share alone, or the number alone, is not enough.
	c = inCourt(t, limits, 2).tried(1, silent(19)).after(time.Second).wants()
	c.tried(2, served(100)).tried(2, silent(99)).after(time.Second).wants()
	c.tried(1, silent(1)).tried(2, silent(1)).after(time.Second).wants("1 ejected").why(1, "20 of 20 connections failed, 20 not answered (limit 50%)")
	// Silences are known later than attempts.
	c = inCourt(t, limits, 2).tried(1, maps.Outcomes{Attempts: 5, Unanswered: 30, Refused: 2}).after(time.Second).wants("1 ejected")
	c.why(1, "32 of 32 connections failed, 2 refused, 30 not answered (limit 50%)")
}

// What is older than the window is forgotten.
func TestEjectWindow(t *testing.T) {
	limits := ejecting
	limits.Consecutive = 0
	c := inCourt(t, limits, 2).tried(1, refused(15)).wait(1).wants()
	c.wait(10).tried(1, refused(15)).wait(1).wants()
	c.wait(8).tried(1, refused(5)).wait(1).wants("1 ejected")
	// However finely it is looked.
	limits.Window = time.Minute
	c = inCourt(t, limits, 2)
	for range 600 {
		c.tried(1, served(1)).after(100 * time.Millisecond)
		if n := len(c.all[c.address(1)].samples); n > windowSamples+3 {
			t.Fatalf("%d samples are kept", n)
		}
	}
	first := c.all[c.address(1)].samples[0]
	if age := c.now.Sub(first.at); age < 55*time.Second || age > 65*time.Second {
		t.Errorf("the window begins %s ago", age)
	}
}

func TestEjectInARow(t *testing.T) {
	c := inCourt(t, ejecting, 2).tried(1, refused(4)).wait(1).wants()
	c.tried(1, served(1)).wait(1).tried(1, refused(4)).wait(1).wants()
	c.wait(100).tried(1, silent(1)).wait(1).wants("1 ejected").why(1, "5 failed in a row: 1 of 1 connections failed, 1 not answered")
}

func TestEjectByResets(t *testing.T) {
	inCourt(t, ejecting, 2).tried(1, maps.Outcomes{Attempts: 30, Answered: 30, Reset: 30}).wait(1).wants()
	limits := ejecting
	limits.Resets = 40
	c := inCourt(t, limits, 2).tried(1, maps.Outcomes{Attempts: 20, Answered: 20, Reset: 7}).wait(1).wants()
	c.tried(1, maps.Outcomes{Reset: 1}).wait(1).wants("1 ejected").why(1, "it reset 8 of 20 connections in 2s (limit 40%)")
}

// It returns when its time is over, is trusted after enough connections, and ejected
// again for longer by the first that fails.
func TestEjectionGrows(t *testing.T) {
	c := inCourt(t, ejecting, 2).tried(1, refused(5)).wait(1).wants("1 ejected")
	for _, time := range []int{30, 60, 120, 120} {
		c.tried(1, silent(3)).wait(time - 1).wants()
		c.wait(1).wants("1 half open").wait(500).wants()
		c.tried(1, served(2)).wait(1).wants()
		c.tried(1, refused(1)).wait(1).wants("1 ejected").why(1, "failed its test: 1 of 3 connections failed, 1 refused")
	}
	c.wait(120).wants("1 half open").tried(1, served(2)).wait(1).wants().tried(1, served(1)).wait(1).wants("1 trusted").why(1, "")
	// Soon after it goes on where it was; after the longest time it begins anew.
	c.wait(119).tried(1, refused(5)).wait(1).lasts(1, 30*time.Second)
	c.wait(30).tried(1, served(3)).wait(1).wants("1 trusted").wait(100).tried(1, refused(5)).wait(1).wants("1 ejected").lasts(1, time.Minute)
}

// A test is as long as it takes for enough to come, and begins anew where one that
// fails it may not be ejected.
func TestEjectSlowTest(t *testing.T) {
	for _, replies := range []bool{true, false} {
		c := inCourt(t, ejecting, 3)
		c.replies = replies
		c.tried(1, silent(5)).wait(1).wants("1 ejected").wait(30).wants("1 half open")
		c.tried(1, served(1)).wait(20).wants().tried(1, served(1)).wait(300).wants()
		if n := len(c.all[c.address(1)].samples); n > windowSamples+8 {
			t.Errorf("%d samples are kept", n)
		}
		c.tried(1, served(1))
		if !replies {
			c.wait(2).wants()
		}
		c.wait(1).wants("1 trusted")
	}
	c := inCourt(t, ejecting, 2).tried(1, refused(5)).wait(1).wants("1 ejected").wait(30).wants("1 half open")
	c.seen[1].usable = false // so that no more than none may be ejected
	c.tried(1, refused(1)).wait(1).wants().tried(1, served(2)).wait(15).wants().tried(1, served(1)).wait(1).wants("1 trusted")
}

// However short the window is, an attempt that nobody hears of again is in it when it
// is known to have failed.
func TestEjectShortWindow(t *testing.T) {
	limits := ejecting
	limits.Window, limits.Consecutive = time.Second, 0
	c := inCourt(t, limits, 3)
	c.replies = false
	ejected := false
	for range 6 {
		c.tried(1, maps.Outcomes{Attempts: 30}).tried(2, served(30)).tried(3, served(30)).wait(1)
		ejected = ejected || len(c.turns) > 0
	}
	if !ejected {
		t.Error("it is not ejected")
	}
}

// Never more than the share, the worst first; the others are shown.
func TestMaxEjected(t *testing.T) {
	inCourt(t, ejecting, 1).tried(1, refused(100)).wait(1).wants().why(1, "100 failed in a row: 100 of 100 connections failed, 100 refused")
	limits := ejecting
	limits.Consecutive = 0
	c := inCourt(t, limits, 5)
	for n, failed := range []uint64{60, 90, 70, 80, 10} {
		c.tried(n+1, served(100-failed)).tried(n+1, refused(failed))
	}
	c.wait(1).wants("2 ejected", "4 ejected").why(3, "70 of 100 connections failed, 70 refused (limit 50%)").why(5, "")
	c.wait(1).wants().why(1, "60 of 100 connections failed, 60 refused (limit 50%)")
	c.wait(20).why(1, "")
	// Those that could not serve anyway make the share smaller, and one returns.
	c.seen[0].usable = false
	c.wait(1).wants()
	c.seen[2].usable = false
	c.wait(1).wants("2 half open")
	c.seen[4].usable = false
	c.wait(1).wants().tried(2, refused(100)).wait(1).wants()
	c.seen[3].usable = false
	c.wait(1).wants()
}

// Counters that begin anew, or of another number, are another backend's.
func TestEjectAnotherNumber(t *testing.T) {
	c := inCourt(t, ejecting, 2).tried(1, refused(4)).wait(1).wants()
	c.seen[0].id = 9
	c.seen[0].total = refused(100)
	c.wait(1).wants()
	c.seen[0].total = refused(3)
	c.wait(1).wants().tried(1, refused(4)).wait(1).wants().tried(1, refused(1)).wait(1).wants("1 ejected")
}

// Where nobody sees replies, what others have as well is not a backend's failure.
func TestEjectWithoutReplies(t *testing.T) {
	c := inCourt(t, ejecting, 3)
	c.replies = false
	begun := func(attempts, answered uint64) maps.Outcomes {
		return maps.Outcomes{Attempts: attempts, Answered: answered}
	}
	for range 20 { // a flood to all of them, and clients
		c.tried(1, begun(100, 10)).tried(2, begun(110, 12)).tried(3, begun(95, 8)).wait(1).wants()
	}
	c = inCourt(t, ejecting, 3)
	c.replies = false
	for range 3 { // one that refuses
		c.tried(1, begun(10, 0)).tried(2, begun(10, 10)).tried(3, begun(10, 9)).wait(1).wants()
	}
	c.tried(1, begun(10, 0)).wait(1).wants("1 ejected").why(1, "20 of 20 connections failed, 20 not finished (limit 50%)")
	// It is tried again, and answers.
	c.wait(29).wants().wait(1).wants("1 half open").tried(1, begun(3, 3)).wait(2).wants().wait(1).wants("1 trusted")
	// One that was begun and not heard of again fails the test, when its time is over.
	c.tried(1, begun(30, 0)).wait(3).wants("1 ejected").wait(60).wants("1 half open")
	c.tried(1, begun(2, 1)).wait(2).wants().wait(1).wants("1 ejected")
	// A silence is known by its SYN.
	c = inCourt(t, ejecting, 3)
	c.replies = false
	c.tried(2, begun(6, 1)).wait(1).tried(2, maps.Outcomes{Unanswered: 5}).wait(1).wants("2 ejected").why(2, "5 failed in a row: 5 of 5 connections failed, 5 not answered")
}

// Whatever happens: no more are ejected than may be, nobody who never failed is,
// times are within their bounds, and nothing that is given is changed.
func TestRandomJudgements(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 5))
		limits := ejecting
		limits.MaxEjected = 1 + random.IntN(100)
		limits.Consecutive = random.IntN(8)
		limits.Resets = random.IntN(60)
		n := 1 + random.IntN(8)
		c := inCourt(t, limits, n)
		good, bad := 1+random.IntN(n), 0
		for step := range 200 {
			for b := 1; b <= n; b++ {
				k := uint64(random.IntN(15))
				switch {
				case b == good || random.IntN(3) == 0:
					c.tried(b, served(k))
				case random.IntN(2) == 0:
					c.tried(b, refused(k))
				default:
					c.tried(b, silent(k)).tried(b, maps.Outcomes{Reset: uint64(random.IntN(5))})
				}
				c.seen[b-1].usable = random.IntN(10) > 0
			}
			before, copied := c.all, copyOf(c.all)
			c.after(time.Duration(random.IntN(3000)) * time.Millisecond)
			if !reflect.DeepEqual(copied, before) {
				t.Fatalf("seed %d, step %d: what was given changed: %+v became %+v", seed, step, copied, before)
			}
			bad += strings.Count(strings.Join(c.turns, ","), " ejected")
			c.check(seed, step, good)
		}
		if limits.MaxEjected*n > 200 && bad == 0 {
			t.Errorf("seed %d: nobody was ejected", seed)
		}
	}
}

// check looks at the invariants.
func (c *court) check(seed uint64, step, good int) {
	c.Helper()
	usable, out := 0, 0
	for n, o := range c.seen {
		b := c.all[o.address]
		if o.usable {
			usable++
		}
		if b.phase != ejected {
			continue
		}
		if n+1 == good {
			c.Fatalf("seed %d, step %d: backend %d never failed: %+v", seed, step, good, b)
		}
		if o.usable {
			out++
		}
		if d := b.until.Sub(b.since); d < c.limits.Time || d > c.limits.MaxTime {
			c.Fatalf("seed %d, step %d: ejected for %s", seed, step, d)
		}
		if !b.until.After(c.now) || b.why == "" {
			c.Fatalf("seed %d, step %d: %+v", seed, step, b)
		}
	}
	if out > usable*c.limits.MaxEjected/100 {
		c.Fatalf("seed %d, step %d: %d of %d are ejected, at most %d%% may be", seed, step, out, usable, c.limits.MaxEjected)
	}
}

func copyOf(b breakers) breakers {
	out := breakers{}
	for address, one := range b {
		one.samples = append([]sample(nil), one.samples...)
		out[address] = one
	}
	return out
}

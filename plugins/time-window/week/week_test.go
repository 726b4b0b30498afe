package week

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// A schedule says at each time what the last window says that holds it, where a
// window is a span of time that begins on one of its days.
func TestSchedule(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		offset := rng.IntN(2*14*60+1) - 14*60
		var windows []window
		for range rng.IntN(5) {
			windows = append(windows, randomWindow(rng))
		}
		text := written(offset, windows)
		s, err := Parse([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		zone := time.FixedZone("", offset*60)
		for range 200 {
			at := time.Unix(rng.Int64N(4e9), rng.Int64N(1e9)).In(zone)
			want := Continue
			for _, w := range windows {
				if w.holds(at) {
					want = w.do
				}
			}
			if got := s.At(at.UnixNano()); got != want {
				t.Fatalf("%s: at %s (%s) it says %s, want %s", text, at, at.Weekday(), actionNames[got], actionNames[want])
			}
		}
	}
}

type window struct {
	first, last time.Weekday
	from, to    int // minutes
	do          Action
}

func randomWindow(rng *rand.Rand) window {
	return window{
		first: time.Weekday(rng.IntN(7)), last: time.Weekday(rng.IntN(7)),
		from: rng.IntN(dayMinutes), to: rng.IntN(dayMinutes + 1), do: Action(rng.IntN(len(actionNames))),
	}
}

func (w window) holds(at time.Time) bool {
	length := w.to - w.from
	if length <= 0 {
		length += dayMinutes
	}
	// It began today or yesterday.
	for _, day := range []time.Time{at, at.AddDate(0, 0, -1)} {
		begin := time.Date(day.Year(), day.Month(), day.Day(), 0, w.from, 0, 0, at.Location())
		on := (day.Weekday()-w.first+7)%7 <= (w.last-w.first+7)%7
		if on && !at.Before(begin) && at.Before(begin.Add(time.Duration(length)*time.Minute)) {
			return true
		}
	}
	return false
}

// written is the configuration with these windows.
func written(offset int, windows []window) string {
	clock := func(minutes int) string { return fmt.Sprintf("%02d:%02d", minutes/60, minutes%60) }
	name := func(d time.Weekday) string { return strings.ToLower(d.String()[:3]) }
	sign := "+"
	if offset < 0 {
		sign, offset = "-", -offset
	}
	var list []string
	for _, w := range windows {
		list = append(list, fmt.Sprintf(`{"days": "%s-%s", "from": "%s", "to": "%s", "do": "%s"}`,
			name(w.first), name(w.last), clock(w.from), clock(w.to), actionNames[w.do]))
	}
	return fmt.Sprintf(`{"utc_offset": "%s%s", "windows": [%s]}`, sign, clock(offset), strings.Join(list, ", "))
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"utc_offset": "1"}`:                        `utc_offset: "1" is no offset`,
		`{"utc_offset": "01:00"}`:                    `utc_offset: "01:00" is no offset`,
		`{"utc_offset": "+14:01"}`:                   `utc_offset: "+14:01" is no offset`,
		`{"otherwise": "group-5"}`:                   `otherwise: "group-5" is not continue`,
		`{"windows": [{"do": "drop"}, {}]}`:          `windows[1]: do: "" is not continue`,
		`{"windows": [{"days": "mon-", "do": ""}]}`:  `windows[0]: days: "mon-" is no day`,
		`{"windows": [{"days": "sun,", "do": ""}]}`:  `windows[0]: days: "" is no day`,
		`{"windows": [{"from": "8:00", "do": ""}]}`:  `windows[0]: from: "8:00" is no time`,
		`{"windows": [{"to": "24:01", "do": ""}]}`:   `windows[0]: to: "24:01" is no time`,
		`{"windows": [{"to": "12:60", "do": ""}]}`:   `windows[0]: to: "12:60" is no time`,
		`{"windows": [{"from": "1200", "do": ""}]}`:  `windows[0]: from: "1200" is no time`,
		`{"windows": [{"from": "12:0x", "do": ""}]}`: `windows[0]: from: "12:0x" is no time`,
		`[]`: `cannot unmarshal array`,
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

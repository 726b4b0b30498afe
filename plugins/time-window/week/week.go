// Package week is what a policy does at each minute of a week.
package week

import (
	"errors"
	"strconv"
	"strings"
)

const (
	dayMinutes  = 24 * 60
	weekMinutes = 7 * dayMinutes
)

var dayNames = [7]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// Action is what a minute says.
type Action uint8

// The actions.
const (
	Continue Action = iota
	Drop
	Reject
	Group1 // and the groups behind it
)

var actionNames = [...]string{"continue", "drop", "reject", "group-1", "group-2", "group-3", "group-4"}

// minutes are the actions of a week, from Monday 00:00.
type minutes [weekMinutes]Action

// fill writes a window: from and to are minutes of a day; a window that does not
// end later in the day ends on the next one.
func (w *minutes) fill(days [7]bool, from, to int, a Action) {
	if to <= from {
		to += dayMinutes
	}
	for day, wanted := range days {
		if !wanted {
			continue
		}
		for minute := from; minute < to; minute++ {
			w[(day*dayMinutes+minute)%weekMinutes] = a
		}
	}
}

// At returns the action of a time, in nanoseconds since 1970; before, that of 1970.
func (s *Schedule) At(wall int64) Action {
	// 1970-01-01 was a Thursday.
	minute := max(wall, 0)/60e9 + int64(s.offset) + 3*dayMinutes
	return s.minutes[minute%weekMinutes]
}

// parseDays reads "mon-fri", "sat,sun" or "fri-mon,wed".
func parseDays(text string) (days [7]bool, err error) {
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		from, to := dayNumber(first), dayNumber(last)
		if from < 0 || to < 0 {
			return days, errors.New(strconv.Quote(part) + " is no day or range of days, as mon or mon-fri")
		}
		for day := from; ; day = (day + 1) % 7 {
			days[day] = true
			if day == to {
				break
			}
		}
	}
	return days, nil
}

func dayNumber(name string) int {
	for day, known := range dayNames {
		if name == known {
			return day
		}
	}
	return -1
}

// parseTime reads "08:30"; "24:00" is the end of a day.
func parseTime(text string) (minutes int, err error) {
	hours, rest, ok := strings.Cut(text, ":")
	h, m := digits(hours), digits(rest)
	if !ok || h < 0 || m < 0 || m > 59 || h*60+m > dayMinutes {
		return 0, errors.New(strconv.Quote(text) + " is no time of day, as 08:30")
	}
	return h*60 + m, nil
}

// parseOffset reads "+01:00", "-03:30" or "Z".
func parseOffset(text string) (minutes int, err error) {
	if text == "" || text == "Z" {
		return 0, nil
	}
	minutes, err = parseTime(text[1:])
	switch {
	case err != nil || minutes > 14*60:
	case text[0] == '+':
		return minutes, nil
	case text[0] == '-':
		return -minutes, nil
	}
	return 0, errors.New(strconv.Quote(text) + " is no offset from UTC, as +01:00")
}

// digits reads two digits; -1 if it is anything else.
func digits(text string) int {
	if len(text) != 2 || text[0] < '0' || text[0] > '9' || text[1] < '0' || text[1] > '9' {
		return -1
	}
	return int(text[0]-'0')*10 + int(text[1]-'0')
}

func parseAction(text string) (Action, error) {
	for i, name := range actionNames {
		if text == name {
			return Action(i), nil
		}
	}
	return 0, errors.New(strconv.Quote(text) + " is not continue, drop, reject or group-1 to group-4")
}

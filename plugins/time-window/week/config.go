package week

import (
	"encoding/json"
	"errors"
	"strconv"
)

// Schedule says what to do when. The zero Schedule says continue.
type Schedule struct {
	minutes minutes
	offset  int // from UTC, in minutes
}

// Parse reads a configuration. Of windows that overlap the last one counts.
func Parse(text []byte) (*Schedule, error) {
	raw := struct {
		Offset    string `json:"utc_offset"`
		Otherwise string `json:"otherwise"`
		Windows   []struct{ Days, From, To, Do string }
	}{Otherwise: "continue"}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, err
	}
	s := new(Schedule)
	var err error
	if s.offset, err = parseOffset(raw.Offset); err != nil {
		return nil, errors.New("utc_offset: " + err.Error())
	}
	otherwise, err := parseAction(raw.Otherwise)
	if err != nil {
		return nil, errors.New("otherwise: " + err.Error())
	}
	for i := range s.minutes {
		s.minutes[i] = otherwise
	}
	for i, w := range raw.Windows {
		if err := s.minutes.window(w.Days, w.From, w.To, w.Do); err != nil {
			return nil, errors.New("windows[" + strconv.Itoa(i) + "]: " + err.Error())
		}
	}
	return s, nil
}

// window fills what the four texts of a window say. No days are all days, no
// times the whole day.
func (w *minutes) window(days, from, to, do string) error {
	if days == "" {
		days = "mon-sun"
	}
	if from == "" {
		from = "00:00"
	}
	if to == "" {
		to = "24:00"
	}
	on, err := parseDays(days)
	if err != nil {
		return errors.New("days: " + err.Error())
	}
	begin, err := parseTime(from)
	if err != nil {
		return errors.New("from: " + err.Error())
	}
	end, err := parseTime(to)
	if err != nil {
		return errors.New("to: " + err.Error())
	}
	a, err := parseAction(do)
	if err != nil {
		return errors.New("do: " + err.Error())
	}
	w.fill(on, begin, end, a)
	return nil
}
